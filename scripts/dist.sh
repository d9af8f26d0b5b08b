#!/bin/sh
# Makes dist/: for each system an archive with the static binary, and the
# checksums of all. The same commit gives the same bytes.
set -eu
cd "$(dirname "$0")/.."
go=${GO:-go}
version=${VERSION:-$(git describe --tags --always --dirty)}
ldflags=${LDFLAGS:-"-s -w -X main.version=$version -X main.commit=$(git rev-parse HEAD)"}
date=@$(git log -1 --format=%ct)

rm -rf dist
for system in linux/amd64 linux/arm64; do
	name=zimg-$version-$(echo "$system" | tr / -)
	mkdir -p "dist/$name"
	GOOS=${system%/*} GOARCH=${system#*/} CGO_ENABLED=0 \
		$go build -trimpath -ldflags "$ldflags" -o "dist/$name/zimg" ./cmd/zimg
	for file in LICENSE README.md CHANGELOG.md; do
		[ ! -e "$file" ] || cp "$file" "dist/$name/"
	done
	tar -C dist --sort=name --owner=0 --group=0 --numeric-owner --mtime="$date" -cf - "$name" |
		gzip -9n >"dist/$name.tar.gz"
	rm -r "dist/$name"
done
cd dist
sha256sum -- *.tar.gz >SHA256SUMS
cat SHA256SUMS
