# Short options that set the machine's properties, some of them twice.
qemu-system-x86_64 -usb -M pc,usb=off,graphics=on -nographic -M acpi=on \
  -serial file:serial.log -serial null -parallel none -monitor unix:monitor.sock,server,nowait \
  -qmp tcp:127.0.0.1:0,server,nowait -vga none -name guest -name process=proc -m 128 -m slots=2,maxmem=1G \
  -smp 1 -smp maxcpus=2 -rtc base=utc -rtc clock=host -no-shutdown -action panic=none -global isa-debugcon.iobase=0x402 \
  -device isa-debugcon,chardev=c -chardev socket,id=c,path=c.sock,server,nowait
