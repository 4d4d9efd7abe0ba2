# Kata's q35 command line by govmm, with a user network, and an image of its own, in the place of a tap and of sockets.
/opt/kata/bin/qemu-system-x86_64 -name sandbox-1a2b -uuid 3aa03a16-2ad1-4e3c-8d3b-2b8b1b1f6f6d -machine q35,accel=tcg \
 -cpu qemu64,pmu=off -qmp unix:qmp.sock,server=on,wait=off -m 256M,slots=10,maxmem=1280M \
 -device pci-bridge,bus=pcie.0,id=pci-bridge-0,chassis_nr=1,shpc=off,addr=2,io-reserve=4k,mem-reserve=1m,pref64-reserve=1m \
 -device virtio-serial-pci,disable-modern=false,id=serial0 \
 -device virtconsole,chardev=charconsole0,id=console0 -chardev socket,id=charconsole0,path=console.sock,server=on,wait=off \
 -device virtio-blk-pci,disable-modern=false,drive=image-1,config-wce=off,share-rw=on,serial=image-1 \
 -drive id=image-1,file=disk.img,aio=threads,format=raw,if=none,readonly=on \
 -device virtio-scsi-pci,id=scsi0,disable-modern=false \
 -object rng-random,id=rng0,filename=/dev/urandom -device virtio-rng-pci,rng=rng0 \
 -netdev user,id=network-0 \
 -device driver=virtio-net-pci,netdev=network-0,mac=02:00:ca:fe:00:01,bus=pcie.0,disable-modern=false,mq=on,vectors=4 \
 -rtc base=utc,driftfix=slew,clock=host -global kvm-pit.lost_tick_policy=discard -vga none -no-user-config -nodefaults \
 -nographic --no-reboot -object memory-backend-file,id=dimm1,size=256M,mem-path=/dev/shm,share=on \
 -numa node,memdev=dimm1 -smp 1,cores=1,threads=1,sockets=2,maxcpus=2
