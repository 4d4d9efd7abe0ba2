# QEMU makes key=value devices first, in their order, and JSON ones behind them: wan is in slot 2, lan in slot 3.
qemu-system-x86_64 -nodefaults -display none -M pc -netdev user,id=n \
  -device '{"driver":"virtio-net-pci","id":"lan","mac":"52:54:00:00:00:01","netdev":"n"}' \
  -device e1000,id=wan,mac=52:54:00:00:00:02 \
  -object '{"qom-type":"rng-builtin","id":"r"}' -object rng-random,id=q,filename=/dev/urandom \
  -device '{"driver":"virtio-rng-pci","id":"json-rng","rng":"r"}' -device virtio-rng-pci,id=rng,rng=q
