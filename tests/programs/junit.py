"""Prints one sorted line per test of a junit file: its name and how it ended, without times."""

import sys
import xml.etree.ElementTree as tree

lines = []
for case in tree.parse(sys.argv[1]).iter("testcase"):
    ends = sorted(child.tag for child in case if child.tag in ("failure", "error", "skipped"))
    name = case.get("name") or "?"
    if not name.startswith("test."):
        name = (case.get("classname") or "") + "." + name
    lines.append(name + " " + (" ".join(ends) or "ok"))
print("\n".join(sorted(lines)))
print(len(lines), "tests")
