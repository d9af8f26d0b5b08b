#!/bin/sh
# Makes dist/: for each system an archive with the static binary, a Debian package with man
# pages and completions, and the checksums of all. The same commit gives the same bytes.
set -eu
cd "$(dirname "$0")/.."
go=${GO:-go}
version=${VERSION:-$(git describe --tags --always --dirty)}
ldflags=${LDFLAGS:-"-s -w -X main.version=$version -X main.commit=$(git rev-parse HEAD)"}
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH

rm -rf dist
mkdir dist
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
# Pages and completions are the same everywhere; this machine's own binary writes them.
CGO_ENABLED=0 $go build -trimpath -ldflags "$ldflags" -o "$tmp/host/bin/zimg" ./cmd/zimg
scripts/install.sh "$tmp/usr" "$tmp/host/bin/zimg"
find "$tmp/usr/share/man" -type f -exec gzip -9n {} +

# A version of Debian begins with a digit and grows with time. Without a tag the version is a
# commit, which does neither.
case $version in
v[0-9]*) debversion=${version#v} ;;
[0-9]*.*) debversion=$version ;;
*) debversion=0~$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y%m%d%H%M%S).$version ;;
esac
maintainer=$(git log -1 --format='%an <%ae>')

deb() { # ARCHITECTURE BINARY
	root=$tmp/deb-$1
	mkdir -p "$root/DEBIAN" "$root/usr/share/doc/zimg"
	cp -a "$tmp/usr/." "$root/usr/"
	install -m 755 "$2" "$root/usr/bin/zimg"
	doc=$root/usr/share/doc/zimg
	mv "$doc/LICENSE" "$doc/copyright"
	rm "$doc/CHANGELOG.md"
	gzip -9n <CHANGELOG.md >"$doc/NEWS.gz"
	gzip -9n >"$doc/changelog.gz" <<-END
		zimg ($debversion) unstable; urgency=medium

		  * Built from the commit of $version; NEWS.gz lists what is new.

		 -- $maintainer  $(date -u -R -d "@$SOURCE_DATE_EPOCH")
	END
	install -d "$root/usr/share/lintian/overrides"
	echo 'zimg: statically-linked-binary [usr/bin/zimg]' >"$root/usr/share/lintian/overrides/zimg"
	cat >"$root/DEBIAN/control" <<-END
		Package: zimg
		Version: $debversion
		Architecture: $1
		Maintainer: $maintainer
		Section: utils
		Priority: optional
		Suggests: qemu-system-x86
		Installed-Size: $(find "$root/usr" -type f -printf '%s\n' | awk '{n += $1} END {print int(n / 1024) + 1}')
		Description: images of zoned NVMe (ZNS) namespaces
		 zimg creates, inspects, checks, repairs, converts and boots images of zoned
		 NVMe namespaces. QEMU forgets the zones' states when it exits; zimg keeps them.
	END
	chmod -R go-w,a+rX "$root"
	find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
	dpkg-deb --root-owner-group -Zxz --build "$root" "dist/zimg_${debversion}_$1.deb" >/dev/null
}

for arch in amd64 arm64; do
	name=zimg-$version-linux-$arch
	mkdir -p "dist/$name"
	GOOS=linux GOARCH=$arch CGO_ENABLED=0 \
		$go build -trimpath -ldflags "$ldflags" -o "dist/$name/zimg" ./cmd/zimg
	cp LICENSE README.md CHANGELOG.md "dist/$name/"
	cp -a "$tmp/usr/share" "dist/$name/"
	if command -v dpkg-deb >/dev/null; then
		deb "$arch" "dist/$name/zimg"
	else
		echo "dist.sh: no dpkg-deb here, so no .deb" >&2
	fi
	tar -C dist --sort=name --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX --mtime="@$SOURCE_DATE_EPOCH" -cf - "$name" |
		gzip -9n >"dist/$name.tar.gz"
	rm -r "dist/$name"
done
cd dist
sha256sum -- zimg* >SHA256SUMS
cat SHA256SUMS
