qemu-system-x86_64 -display none -nodefaults -M q35 \
  -device virtio-net-pci,id=nic,netdev=n -netdev user,id=n -set device.nic.addr=0a -set device.nic.mac=52:54:00:00:00:01 \
  -device virtio-rng-pci,addr=5
