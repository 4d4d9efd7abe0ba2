#!/usr/bin/env bash
# A script in the manner of quickemu: variables, sudo, a pipe behind.
VM="ubuntu-22.04"
RAM=512M
CORES=2
exec sudo -u nobody qemu-system-x86_64 -name "${VM}",process="${VM}" \
  -machine q35,smm=off,vmport=off -global kvm-pit.lost_tick_policy=discard \
  -cpu max -smp cores=$CORES,threads=1,sockets=1 -m ${RAM} -rtc base=localtime,clock=host,driftfix=slew \
  -pidfile quickemu.pid -display none -vga none \
  -device virtio-rng-pci,rng=rng0 -object rng-random,id=rng0,filename=/dev/urandom \
  -device qemu-xhci,id=spicepass -device usb-ehci,id=input -device usb-kbd,bus=input.0 -k en-us -device usb-tablet,bus=input.0 \
  -device virtio-net-pci,netdev=nic -netdev user,hostname=$VM,hostfwd=tcp:127.0.0.1:0-:22,id=nic \
  -drive if=pflash,format=raw,unit=0,file=disk.img,readonly=on \
  -drive media=cdrom,index=0,file=cd.iso \
  -device virtio-blk-pci,drive=SystemDisk -drive id=SystemDisk,if=none,format=raw,file=disk.img,readonly=on \
  -fsdev local,id=fsdev0,path=.,security_model=mapped-xattr -device virtio-9p-pci,fsdev=fsdev0,mount_tag=Public-me \
  -monitor unix:"$VM"-monitor.socket,server,nowait -serial unix:$VM-serial.socket,server,nowait 2>&1 | tee log.txt
