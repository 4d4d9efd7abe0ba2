# not started: it needs KVM, a tap, vhost-vsock and virtiofsd
/opt/kata/bin/qemu-system-x86_64 -name sandbox-1a2b,debug-threads=on -uuid 3aa03a16-2ad1-4e3c-8d3b-2b8b1b1f6f6d \
 -machine q35,accel=kvm,nvdimm=on -cpu host,pmu=off -qmp unix:fd=3,server=on,wait=off -m 2048M,slots=10,maxmem=32768M \
 -device pci-bridge,bus=pcie.0,id=pci-bridge-0,chassis_nr=1,shpc=off,addr=2,io-reserve=4k,mem-reserve=1m,pref64-reserve=1m \
 -device virtio-serial-pci,disable-modern=false,id=serial0 -device virtconsole,chardev=charconsole0,id=console0 \
 -chardev socket,id=charconsole0,path=/run/vc/vm/1a2b/console.sock,server=on,wait=off \
 -device nvdimm,id=nv0,memdev=mem0,unarmed=on \
 -object memory-backend-file,id=mem0,mem-path=/opt/kata/share/kata.image,size=268435456,readonly=on \
 -device virtio-scsi-pci,id=scsi0,disable-modern=false -object rng-random,id=rng0,filename=/dev/urandom \
 -device virtio-rng-pci,rng=rng0 -device vhost-vsock-pci,disable-modern=false,vhostfd=4,id=vsock-77,guest-cid=77,bus=pcie.0 \
 -chardev socket,id=char-abc,path=/run/vc/vm/1a2b/vhost-fs.sock \
 -device vhost-user-fs-pci,chardev=char-abc,tag=kataShared,queue-size=1024,bus=pcie.0 \
 -netdev tap,id=network-0,vhost=on,vhostfds=5,fds=6 \
 -device driver=virtio-net-pci,netdev=network-0,mac=02:00:ca:fe:00:01,bus=pcie.0,disable-modern=false,mq=on,vectors=4 \
 -rtc base=utc,driftfix=slew,clock=host -global kvm-pit.lost_tick_policy=discard -vga none -no-user-config -nodefaults \
 -nographic --no-reboot -object memory-backend-file,id=dimm1,size=2048M,mem-path=/dev/shm,share=on \
 -numa node,memdev=dimm1 -kernel /opt/kata/share/vmlinux \
 -append "tsc=reliable no_timer_check root=/dev/pmem0p1 rootflags=dax,data=ordered,errors=remount-ro ro console=hvc0" \
 -pidfile /run/vc/vm/1a2b/pid -smp 1,cores=1,threads=1,sockets=4,maxcpus=4
