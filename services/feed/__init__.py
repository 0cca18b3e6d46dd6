"""The feed of events: pages, long polls and Server-Sent Events."""
