"""Processes made by fork from threads, and what they compute."""

import hashlib
import multiprocessing
import os
import sys
import threading


def work(n):
    text = ("%d " % n) * 2000
    parts = {i: text[i : i + 40] for i in range(0, len(text), 7)}
    return n, hashlib.sha256(repr(sorted(parts.items())).encode()).hexdigest()


def forks(results, first):
    for n in range(first, first + 25):
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.write(writer, work(n)[1].encode())
            os._exit(n % 7)
        os.close(writer)
        with open(reader, "rb") as pipe:
            text = pipe.read().decode()
        results[n] = (text, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    with multiprocessing.Pool(4) as pool:
        for result in pool.imap(work, range(200)):
            print(*result)
    results = {}
    threads = [threading.Thread(target=forks, args=(results, 1000 * t)) for t in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for n in sorted(results):
        print(n, *results[n])
