//! What can go wrong: with the command line, with the run, and with one connection.

use std::fmt;

/// Why there is no report. The binary prints it as one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The command line asks for something that cannot be done; nothing was started.
    Usage(String),
    /// The measurement could not be made.
    Failed(String),
}

impl Error {
    /// A wrong command line.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    /// A measurement that could not be made.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }

    /// What the process exits with: 2 for a wrong command line, 1 for everything else.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Failed(_) => 1,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(message) | Self::Failed(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for Error {}

/// Clap explains at length; the first line says what is wrong, and a tip what was meant. A list that
/// the first line announces belongs to it.
pub(super) fn first_line(message: &str) -> String {
    let line = message.lines().next().unwrap_or(message);
    let mut line = line.strip_prefix("error: ").unwrap_or(line).to_owned();
    if line.ends_with(':') {
        let list = message.lines().skip(1).map(str::trim).take_while(|item| !item.is_empty());
        line += &format!(" {}", list.collect::<Vec<_>>().join(", "));
    }
    // What follows -- is for the server, so that tip of clap's would mislead.
    let tips = message
        .lines()
        .filter_map(|line| line.trim().strip_prefix("tip: "))
        .filter(|tip| !tip.contains("as a value, use"));
    tips.fold(line, |line, tip| format!("{line}; {tip}"))
}

/// How a connection failed. One failure is one event, however many requests it left unanswered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Nobody listens there.
    Refused,
    /// There is no socket of that name.
    NoSocket,
    /// The connection was not established in time.
    ConnectTimeout,
    /// The server closed the connection although it owed answers and had not announced it.
    ClosedEarly,
    /// The connection was reset.
    Reset,
    /// The TLS handshake failed, or later a record was not what TLS allows.
    Tls,
    /// The server sent something that is not the response to a request.
    Garbage,
    /// A request stayed without answer for longer than the timeout.
    Timeout,
    /// The operating system reported something else.
    Other,
}

impl Failure {
    /// Every kind, in the order of the report.
    pub const ALL: [Self; 9] = [
        Self::Refused,
        Self::NoSocket,
        Self::ConnectTimeout,
        Self::ClosedEarly,
        Self::Reset,
        Self::Tls,
        Self::Garbage,
        Self::Timeout,
        Self::Other,
    ];

    /// The kind that an error of the operating system is an instance of.
    pub fn of(error: &std::io::Error) -> Self {
        use std::io::ErrorKind;
        match error.kind() {
            ErrorKind::ConnectionRefused => Self::Refused,
            ErrorKind::NotFound => Self::NoSocket,
            ErrorKind::TimedOut => Self::ConnectTimeout,
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted => {
                Self::Reset
            }
            // The server closed the connection during the TLS handshake.
            ErrorKind::UnexpectedEof => Self::ClosedEarly,
            ErrorKind::InvalidData => Self::Tls,
            _ => Self::Other,
        }
    }

    /// The name in the report.
    pub fn label(self) -> &'static str {
        match self {
            Self::Refused => "connection refused",
            Self::NoSocket => "no such socket",
            Self::ConnectTimeout => "connect timed out",
            Self::ClosedEarly => "closed early",
            Self::Reset => "connection reset",
            Self::Tls => "TLS failed",
            Self::Garbage => "invalid response",
            Self::Timeout => "request timed out",
            Self::Other => "other error",
        }
    }

    /// The name in the JSON file.
    pub fn key(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::NoSocket => "no_socket",
            Self::ConnectTimeout => "connect_timeout",
            Self::ClosedEarly => "closed_early",
            Self::Reset => "reset",
            Self::Tls => "tls",
            Self::Garbage => "invalid_response",
            Self::Timeout => "timeout",
            Self::Other => "other",
        }
    }
}
