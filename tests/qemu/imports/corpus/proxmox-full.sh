# not started: options and machine types of Proxmox's own
/usr/bin/kvm -id 100 -name 'web,debug-threads=on' -no-shutdown -daemonize \
 -chardev 'socket,id=qmp-event,path=/var/run/qmeventd.sock,reconnect=5' -mon 'chardev=qmp-event,mode=control' \
 -pidfile /var/run/qemu-server/100.pid -cpu kvm64,enforce,+kvm_pv_eoi,+kvm_pv_unhalt,+lahf_lm,+sep -m 2048 \
 -readconfig /usr/share/qemu-server/pve-q35-4.0.cfg -device 'vmgenid,guid=8c3f3c4d-5a64-4f2b-9b0a-1f2e3d4c5b6a' \
 -drive 'file=/dev/pve/vm-100-disk-0,if=none,id=drive-scsi0,format=raw,cache=none,aio=native,detect-zeroes=on' \
 -netdev 'type=tap,id=net0,ifname=tap100i0,script=/usr/libexec/pve-bridge,downscript=/usr/libexec/pve-bridgedown,vhost=on' \
 -device 'virtio-net-pci,mac=BC:24:11:00:00:01,netdev=net0,bus=pci.0,addr=0x12,id=net0' -machine 'type=q35+pve0'
