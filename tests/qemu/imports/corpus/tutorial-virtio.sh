qemu-system-x86_64 -machine q35 -smp 2 -m 512M \
  -drive file=disk.img,if=virtio,format=raw,cache=none \
  -device virtio-rng-pci \
  -netdev user,id=n0,hostfwd=tcp:127.0.0.1:0-:22,hostfwd=tcp:127.0.0.1:0-:80 \
  -device virtio-net-pci,netdev=n0,mac=52:54:00:aa:bb:cc \
  -display none -serial null -monitor none --no-reboot
