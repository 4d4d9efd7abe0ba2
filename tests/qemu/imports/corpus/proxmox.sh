# Proxmox, with its own machine type, its configuration file and its taps replaced.
/usr/bin/kvm -name 'web,debug-threads=on' -no-shutdown \
 -chardev 'socket,id=qmp,path=qmp.sock,server=on,wait=off' -mon 'chardev=qmp,mode=control' \
 -chardev 'socket,id=qmp-event,path=event.sock,server=on,wait=off' -mon 'chardev=qmp-event,mode=control' \
 -smbios 'type=1,uuid=2cbe4a1b-6b8a-4d3c-9d0e-0d4f2b6a7c11' -smp '2,sockets=1,cores=2,maxcpus=2' -nodefaults \
 -boot 'menu=on,strict=on,reboot-timeout=1000' -vnc 'unix:vnc.sock,password=on' -cpu qemu64,+aes,enforce=off -m 512 \
 -object 'iothread,id=iothread-virtioscsi0' \
 -device 'pci-bridge,id=pci.1,chassis_nr=1,bus=pci.0,addr=0x1e' -device 'pci-bridge,id=pci.2,chassis_nr=2,bus=pci.0,addr=0x1f' \
 -device 'vmgenid,guid=8c3f3c4d-5a64-4f2b-9b0a-1f2e3d4c5b6a' -device 'piix3-usb-uhci,id=uhci,bus=pci.0,addr=0x1.0x2' \
 -device 'usb-tablet,id=tablet,bus=uhci.0,port=1' -device 'VGA,id=vga,bus=pci.0,addr=0x2' \
 -device 'virtio-balloon-pci,id=balloon0,bus=pci.0,addr=0x3' -iscsi 'initiator-name=iqn.1993-08.org.debian:01:abcdef' \
 -drive 'if=none,id=drive-ide2,media=cdrom,aio=threads' -device 'ide-cd,bus=ide.1,unit=0,drive=drive-ide2,id=ide2,bootindex=101' \
 -device 'virtio-scsi-pci,id=virtioscsi0,bus=pci.1,addr=0x1,iothread=iothread-virtioscsi0' \
 -drive 'file=disk.img,if=none,id=drive-scsi0,format=raw,cache=none,aio=threads,detect-zeroes=on' \
 -device 'scsi-hd,bus=virtioscsi0.0,channel=0,scsi-id=0,lun=0,drive=drive-scsi0,id=scsi0,bootindex=100' \
 -netdev 'type=user,id=net0' \
 -device 'virtio-net-pci,mac=BC:24:11:00:00:01,netdev=net0,bus=pci.0,addr=0x12,id=net0,rx_queue_size=1024,bootindex=102' \
 -machine 'type=pc,hpet=off'
