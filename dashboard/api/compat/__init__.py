"""The read operations of GEUT's permanent-seeder 1.0 (`/api/v1` there, `/api/v1/compat` here), in its shapes.

Programs written for it go on with another address and a token. What the farm does not know has the value that
a new drive has there: no files, and no peers until workers have reported them.
"""
