cc1plus: fatal error: all.cpp: No such file or directory
compilation terminated.
