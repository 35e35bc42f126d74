"""aioftp over one directory: serve.py HOST PORT ROOT"""

import asyncio
import sys

import aioftp

host, port, root = sys.argv[1:]
user = aioftp.User("user", "pass word", base_path=root)
asyncio.run(aioftp.Server([user]).run(host, int(port)))
