#!/usr/bin/env bash
# Runs the tests that need cgroup v2 in a virtual machine whose only hierarchy
# that is: qemu in software emulation, Debian's cloud kernel, and the program
# integration/guest as its first process. An argument without spaces narrows the
# tests, as go test's -run does. What the script lacks it installs when it may
# (root on Debian); where it cannot run it says why and exits 77.
#
# With PENSTOCK_TEST_BIN=FOLDER the binaries there are tested, not new ones.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin # mke2fs

only=${1:-}
cache=bin/guest
# How many seconds the machine may be on: many times what it takes.
deadline=420

cannot() {
	echo "the cgroup v2 guest cannot run here: $*" >&2
	exit 77
}

failed() {
	echo "$*" >&2
	exit 1
}

# update: reads the packages' lists, once.
update() {
	if [ "$(id -u)" = 0 ] && [ -z "${updated:-}" ]; then
		apt-get update -qq || cannot "apt-get update failed"
		updated=yes
	fi
}

# install PACKAGE COMMAND: makes sure of a command.
install() {
	if command -v "$2" >/dev/null; then
		return
	fi
	if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
		cannot "$2 is not there: install $1 (Debian: apt-get install $1)"
	fi
	echo "installing $1"
	update
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1" </dev/null >/dev/null ||
		cannot "$1 could not be installed"
}

# kernel: fetches Debian's kernel for virtual machines into the cache, without
# installing it: its image, and the disk's driver, the one module it needs.
kernel() {
	local meta package='' dir
	command -v apt-get >/dev/null || cannot "its kernel is a package of Debian, and apt-get is not there"
	update
	# Debian 12 has both: its 6.1 has more of the disk's driver in modules.
	for meta in linux-image-6.12-cloud-amd64 linux-image-cloud-amd64; do
		package=$({ apt-cache depends --important "$meta" 2>/dev/null || true; } |
			sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p')
		[ -z "$package" ] || break
	done
	[ -n "$package" ] || cannot "apt-get knows no linux-image-cloud-amd64: run apt-get update, on Debian"
	echo "fetching $package"
	dir=$(mktemp -d "$cache/fetch.XXXXXX")
	(cd "$dir" && apt-get download -qq -o APT::Sandbox::User=root "$package" && dpkg -x ./*.deb .) || {
		rm -rf "$dir"
		cannot "$package could not be fetched"
	}
	mkdir -p "$dir/kernel/modules"
	cp "$dir"/boot/vmlinuz-* "$dir/kernel/vmlinuz"
	cp "$dir"/lib/modules/*/kernel/drivers/block/virtio_blk.ko* "$dir/kernel/modules"
	mv "$dir/kernel" "$cache/kernel"
	rm -rf "$dir"
}

[ "$(uname -sm)" = "Linux x86_64" ] || cannot "it needs Linux on x86-64"
mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
install qemu-system-x86 qemu-system-x86_64
install e2fsprogs mke2fs
if [ ! -d "$cache/kernel" ]; then
	kernel
fi
flock -u 9

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
mkdir -p "$root/guest"
cp -r "$cache/kernel/modules" "$root/modules"

export CGO_ENABLED=0
if [ -n "${PENSTOCK_TEST_BIN:-}" ]; then
	cp "$PENSTOCK_TEST_BIN"/penstock* "$root/guest"
else
	make build BIN="$root/guest"
fi
go build -trimpath -ldflags '-s -w' -o "$root/init" ./integration/guest
go test -c -trimpath -ldflags '-s -w' -o "$root/guest/" ./supervisor/cgroup ./integration
"$root/init" "$root" "$work/initramfs"

truncate -s 512M "$work/disk"
mke2fs -q -t ext4 -O ^has_journal "$work/disk"

# One processor: qemu before 8.1 may run what it translated of code that another
# processor was just changing, and the kernel panics at the breakpoint it put
# there itself. It changes its code whenever a limit is the first of its kind.
# The kernel hands PENSTOCK_GUEST_RUN on to its first process, in the environment.
status=0
timeout --foreground "$deadline" qemu-system-x86_64 \
	-machine q35 -accel tcg -cpu max -smp 1 -m 1024 \
	-nodefaults -no-user-config -no-reboot -display none -serial stdio \
	-kernel "$cache/kernel/vmlinuz" -initrd "$work/initramfs" \
	-drive "file=$work/disk,format=raw,if=virtio,cache=unsafe" \
	-append "console=ttyS0 quiet loglevel=3 panic=-1 psi=1 mitigations=off PENSTOCK_GUEST_RUN=$only" \
	</dev/null | tr -d '\r' | tee "$work/console" || status=$?
if [ "$status" = 124 ]; then
	failed "the guest did not end by itself within $deadline s"
elif [ "$status" != 0 ]; then
	failed "qemu ended with status $status"
fi
# A kernel that panics ends the machine with success: the guest has to say it.
grep -q '^PENSTOCK-GUEST: PASS$' "$work/console" || failed "the guest did not say that all of its tests passed"
if ! grep -q '^--- PASS' "$work/console" || { [ -z "$only" ] && grep -q 'no tests to run' "$work/console"; }; then
	failed "there is none of the tests that were to run"
fi
if grep -qE '^ *--- SKIP' "$work/console"; then
	failed "a test was skipped: the guest has all that a test may need"
fi
echo "the guest's tests passed; with the building and the boot they took $SECONDS s"
