# A Mac's wrapper, for Arm: a drive without an interface is virtio on this board.
qemu-system-aarch64 -nodefaults -vga none -cpu cortex-a72 -smp cpus=2,sockets=1,cores=2,threads=1 -machine virt \
 -accel tcg,thread=multi,tb-size=64 -m 256 -display none -name "Linux" -uuid 8f9a6f2e-3c0f-4a55-b1c5-0a0f4c0b1d22 \
 -device nec-usb-xhci,id=usb-bus -device usb-tablet,bus=usb-bus.0 -device usb-mouse,bus=usb-bus.0 \
 -device virtio-net-pci,mac=B6:00:00:00:00:01,netdev=net0 -netdev user,id=net0 \
 -device virtio-blk-pci,drive=driveA,bootindex=1 -drive if=none,media=disk,id=driveA,file=disk.img,format=raw,discard=unmap,detect-zeroes=unmap \
 -drive file=cd.iso,format=raw,readonly=on -device virtio-rng-pci
