#!/bin/bash
# Arguments gathered in an array, as wrappers do.
NAME='my vm, really'
args=(-name "guest=${NAME/,/,,}" -m 128M) # this one is set anew below: it needs a shell
args=(-m 128M # small
      -nodefaults -display none)
args+=(-device "virtio-rng-pci,id=r")
[ -e /dev/kvm ] && : nothing
qemu-system-x86_64 "${args[@]}"
