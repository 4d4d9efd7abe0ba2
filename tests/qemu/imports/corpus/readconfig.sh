# Proxmox does it like this: some of the devices come from a file.
qemu-system-x86_64 -display none -nodefaults -M q35 -m 256 \
  -device virtio-rng-pci,id=before -readconfig ports.cfg -device virtio-rng-pci,id=behind \
  -device virtio-net-pci,bus=port0,netdev=n -netdev user,id=n -object rng-builtin,id=r
