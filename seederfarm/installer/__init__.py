"""What the command of `worker enroll` fetches: an installer and the packages of a worker, of this very
version.

`/join/install.sh` is for anyone; `/join/TOKEN_ID/bundle.tar` needs a token that is open, or was used by a
worker that is still in the farm, so the same command updates that worker later.
"""
