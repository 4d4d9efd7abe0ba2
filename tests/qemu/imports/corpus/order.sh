# Devices of every origin: keyval, JSON, -drive, -virtfs, -nic, -usbdevice. All get addresses in QEMU's own order.
qemu-system-x86_64 -M pc -display none -serial null \
  -device '{"driver":"virtio-rng-pci","id":"json-first"}' \
  -device virtio-balloon-pci,id=first \
  -virtfs local,path=.,mount_tag=host,security_model=none \
  -drive if=virtio,format=raw,file=disk.img \
  -device virtio-rng-pci \
  -nic user,model=virtio-net-pci \
  -usbdevice tablet \
  -device '{"driver":"virtio-keyboard-pci"}' \
  -debugcon null
