#!/bin/sh
# As in many tutorials: everything by the oldest names, the image's format guessed.
qemu-system-x86_64 -m 256 -hda disk.img -cdrom cd.iso -boot d \
    -net nic -net user,hostfwd=tcp:127.0.0.1:0-:22 -nographic
