//! Sockets and event loops; nothing of HTTP or keys.
