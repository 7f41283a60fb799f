"""Programs that nobody trusts, in processes that can compute and do nothing else.

walls/      what is around such a process
attacks/    what a program may try; the sandbox tries it on itself before it is used
server.py   forks such processes, and has never seen torch, a secret or a test
inside.py   what they run: the candidate's code, the checker's tests, a whole program
channel.py  messages between two processes
values.py   plain values as JSON, between candidate and checker
client.py   the server and its processes, seen from outside
trial.py    code on trial: what of its tests it passes
proven.py   the one sandbox of a process
"""
