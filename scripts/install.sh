#!/bin/sh
# Installs bin/zimg, or the binary given, with its man pages, completions and documents below the folder given. With
# --uninstall in place of the binary it removes all of that.
set -eu
cd "$(dirname "$0")/.."
to=${1:?usage: install.sh PREFIX [BINARY]}
zimg=${2:-bin/zimg}
doc=$to/share/doc/zimg
if [ "$zimg" = --uninstall ]; then
	rm -f "$to/bin/zimg" "$to/bin/fsck.zimg" "$to/share/man/man1/zimg.1" "$to"/share/man/man1/zimg-*.1 \
		"$to"/share/man/man5/zimg-*.5 "$to"/share/man/man7/zimg-*.7 "$to/share/man/man8/fsck.zimg.8" \
		"$to/share/bash-completion/completions/zimg" "$to/share/zsh/site-functions/_zimg" \
		"$to/share/fish/vendor_completions.d/zimg.fish"
	rm -rf "$doc"
	exit
fi
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
# The pages bear the date of the source.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH

install -D -m 755 "$zimg" "$to/bin/zimg"
ln -sf zimg "$to/bin/fsck.zimg"
"$zimg" man "$tmp/man"
for page in "$tmp"/man/*.[1578]; do
	install -D -m 644 "$page" "$to/share/man/man${page##*.}/$(basename "$page")"
done
"$zimg" completion bash >"$tmp/bash"
"$zimg" completion zsh >"$tmp/zsh"
"$zimg" completion fish >"$tmp/fish"
install -D -m 644 "$tmp/bash" "$to/share/bash-completion/completions/zimg"
install -D -m 644 "$tmp/zsh" "$to/share/zsh/site-functions/_zimg"
install -D -m 644 "$tmp/fish" "$to/share/fish/vendor_completions.d/zimg.fish"
for file in README.md CHANGELOG.md LICENSE docs/*.md docs/*.svg docs/*.json; do
	install -D -m 644 "$file" "$doc/$file"
done
