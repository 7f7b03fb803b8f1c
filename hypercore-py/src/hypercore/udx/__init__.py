"""UDX: reliable, congestion-controlled streams over UDP, as a machine without sockets or clock."""
