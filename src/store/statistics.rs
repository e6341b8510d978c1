//! What a partition counts.

/// Counts of one partition, all since its start except `keys` and `bytes`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Statistics {
    /// Keys present; one that expired or was purged counts until its memory is taken back.
    pub keys: u64,
    /// Bytes in use of the memory limit.
    pub bytes: u64,
    /// Keys dropped to make room.
    pub evicted: u64,
    /// Keys whose time to live ended.
    pub expired: u64,
    /// Keys that were purged and whose memory was taken back.
    pub purged: u64,
    /// Live values overwritten.
    pub replaced: u64,
    /// Keys deleted by a client.
    pub deleted: u64,
}
