# Makes a git repository with branches, merges and tags in ./r, and looks at it in every way that
# allocates. The output is the same every time.
set -eu
commits=$1
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null HOME=/nonexistent LC_ALL=C
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=c GIT_COMMITTER_EMAIL=c@example.org
git init -q -b main r
cd r
git config gc.auto 0
git config pack.threads 2
n=0
while [ "$n" -lt "$commits" ]; do
  n=$((n + 1))
  export GIT_AUTHOR_DATE="$((1700000000 + n * 60)) +0000" GIT_COMMITTER_DATE="$((1700000000 + n * 60)) +0000"
  mkdir -p "d$((n % 5))"
  i=0
  while [ "$i" -lt 60 ]; do
    i=$((i + 1))
    echo "line $i of file $((n % 9)), $((i * n % 17))"
  done > "d$((n % 5))/f$((n % 9))"
  git add -A
  git commit -q -m "commit $n"
  [ $((n % 10)) -ne 5 ] || git branch "b$n"
  [ $((n % 10)) -ne 9 ] || git tag -a -m "tag $n" "t$n"
done
git checkout -q b5
echo side > side
git add side
git commit -q -m side
git checkout -q main
git merge -q -m merge b5
git log --stat --graph --format='%H %an %ad %s'
git log -p --follow -- d1/f1 | sha1sum
git blame -s d1/f1
git diff --word-diff HEAD~7 | sha1sum
git grep -n -E 'line (7|11) of file [0-3]' | sha1sum
git gc -q --aggressive --prune=now
git fsck --full --strict 2>&1
git cat-file --batch-check --batch-all-objects
git rev-list --all --objects | sha1sum
git clone -q --no-local . ../s 2>&1
git -C ../s fsck --full 2>&1
git -C ../s archive --format=tar HEAD | sha1sum
git bundle create -q ../bundle --all
git bundle verify -q ../bundle 2>&1
git status --short
