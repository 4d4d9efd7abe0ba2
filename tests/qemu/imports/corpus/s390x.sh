qemu-system-s390x -nographic -m 256 -drive file=disk.img,format=raw -device virtio-rng-ccw -nic user -device virtio-serial-ccw,id=s
