# Works on a clone of a real repository, the project's own, at a given commit. The output is the same every time.
set -eu
repository=$1 commit=$2
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null HOME=/nonexistent LC_ALL=C
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=c GIT_COMMITTER_EMAIL=c@example.org
export GIT_AUTHOR_DATE='1700000000 +0000' GIT_COMMITTER_DATE='1700000000 +0000'
git init -q -b main r
cd r
git config gc.auto 0
git config pack.threads 2
git fetch -q --no-tags "$repository" HEAD 2>&1
git reset -q --hard "$commit"
git log --format='%h %s' | head -n 20
git log -p --stat | sha1sum
git log --oneline --graph --follow -- README.md | sha1sum
git blame -s README.md | sha1sum
git grep -c unsafe -- '*.rs' | sha1sum
echo changed >> README.md
git commit -q -a -m changed
git gc -q --prune=now
git fsck --full --strict 2>&1
git rev-list HEAD --objects | sha1sum
git clone -q --no-local . ../s 2>&1
git -C ../s archive --format=tar HEAD | sha1sum
git -C ../s diff --shortstat HEAD~1
git status --short
