//! A stream of responses by RFC 9112 §4 to §7, as the load generator is to understand it.

/// A final response.
#[derive(Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub keep_alive: bool,
    pub body: Vec<u8>,
}

/// How a stream ends behind its last complete response.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// No response has begun.
    Between,
    Within,
    /// What there is of this response is its body, which lasts until the connection closes.
    UntilClose(Response),
    Garbage,
}

enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

struct Head {
    bytes: usize,
    status: u16,
    keep_alive: bool,
    framing: Framing,
}

/// All responses of a stream. `has_body` is false for answers to HEAD.
pub fn read(mut input: &[u8], has_body: bool) -> (Vec<Response>, End) {
    let mut responses = Vec::new();
    let mut between = true;
    loop {
        if input.is_empty() && between {
            return (responses, End::Between);
        }
        let head = match head(input) {
            Ok(Some(head)) => head,
            // Behind an interim response, the final one is still due, but has not begun.
            Ok(None) if input.is_empty() => return (responses, End::Between),
            Ok(None) => return (responses, End::Within),
            Err(()) => return (responses, End::Garbage),
        };
        let rest = &input[head.bytes..];
        between = head.status >= 200;
        if !between {
            if head.status == 101 {
                return (responses, End::Garbage);
            }
            input = rest;
            continue;
        }
        let bodiless = !has_body || head.status == 204 || head.status == 304;
        let (body, bytes) = match head.framing {
            _ if bodiless => (Vec::new(), 0),
            Framing::Length(n) if n > rest.len() as u64 => return (responses, End::Within),
            Framing::Length(n) => (rest[..n as usize].to_vec(), n as usize),
            Framing::UntilClose => {
                let (status, body) = (head.status, rest.to_vec());
                let response = Response { status, keep_alive: false, body };
                return (responses, End::UntilClose(response));
            }
            Framing::Chunked => match chunks(rest) {
                Ok(Some(found)) => found,
                Ok(None) => return (responses, End::Within),
                Err(()) => return (responses, End::Garbage),
            },
        };
        responses.push(Response { status: head.status, keep_alive: head.keep_alive, body });
        input = &rest[bytes..];
    }
}

/// A line's bytes without its line end, which is CR LF.
fn line(bytes: &[u8]) -> Result<Option<&[u8]>, ()> {
    let Some(end) = bytes.iter().position(|&byte| byte == b'\n') else { return Ok(None) };
    bytes[..end].strip_suffix(b"\r").map(Some).ok_or(())
}

fn head(input: &[u8]) -> Result<Option<Head>, ()> {
    let mut at = 0;
    let mut lines = Vec::new();
    loop {
        let Some(line) = line(&input[at..])? else { return Ok(None) };
        at += line.len() + 2;
        if line.is_empty() && !lines.is_empty() {
            break;
        }
        if line.iter().any(|&byte| (byte < b' ' && byte != b'\t') || byte == 0x7f) {
            return Err(());
        }
        lines.push(line);
    }
    let start = lines[0];
    let digits = start.get(9..12).filter(|digits| digits.iter().all(u8::is_ascii_digit));
    let status: u16 = std::str::from_utf8(digits.ok_or(())?).unwrap().parse().unwrap();
    let old = start.starts_with(b"HTTP/1.0 ");
    if !(old || start.starts_with(b"HTTP/1.1 ")) || status < 100 {
        return Err(());
    }
    if start.len() > 12 && start[12] != b' ' {
        return Err(());
    }
    let mut lengths: Vec<u64> = Vec::new();
    let (mut chunked, mut close, mut keep) = (false, false, false);
    for line in &lines[1..] {
        let colon = line.iter().position(|&byte| byte == b':').ok_or(())?;
        let name = line[..colon].to_ascii_lowercase();
        if name.is_empty() || !name.iter().all(|&byte| crate::head::is_token(byte)) {
            return Err(());
        }
        let value = line[colon + 1..].trim_ascii().to_ascii_lowercase();
        let options = || value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
        match &name[..] {
            b"content-length" => {
                if value.len() > 19 || !value.iter().all(u8::is_ascii_digit) {
                    return Err(());
                }
                lengths.push(std::str::from_utf8(&value).unwrap().parse().map_err(|_| ())?);
            }
            b"transfer-encoding" if value == b"chunked" => chunked = true,
            b"transfer-encoding" => return Err(()),
            b"connection" => {
                close |= options().any(|option| option == b"close");
                keep |= options().any(|option| option == b"keep-alive");
            }
            _ => {}
        }
    }
    let framing = match (lengths.first(), chunked) {
        (Some(_), true) => return Err(()),
        (Some(&n), false) if lengths.iter().all(|&other| other == n) => Framing::Length(n),
        (Some(_), false) => return Err(()),
        (None, true) => Framing::Chunked,
        (None, false) => Framing::UntilClose,
    };
    let endless = matches!(framing, Framing::UntilClose) && !matches!(status, 204 | 304);
    let keep_alive = !close && (!old || keep) && !endless;
    Ok(Some(Head { bytes: at, status, keep_alive, framing }))
}

fn chunks(input: &[u8]) -> Result<Option<(Vec<u8>, usize)>, ()> {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let Some(size) = line(&input[at..])? else { return Ok(None) };
        let digits = size.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        if !(1..=16).contains(&digits)
            || !size[digits..].first().is_none_or(|byte| b"; \t".contains(byte))
            || size.iter().any(|&byte| byte == b'\r' || byte == 0)
        {
            return Err(());
        }
        at += size.len() + 2;
        let size = std::str::from_utf8(&size[..digits]).unwrap();
        let size = u64::from_str_radix(size, 16).map_err(|_| ())?;
        if size == 0 {
            break;
        }
        let rest = &input[at..];
        if size >= rest.len() as u64 {
            return Ok(None);
        }
        let size = size as usize;
        body.extend_from_slice(&rest[..size]);
        match &rest[size..] {
            [b'\r'] => return Ok(None),
            [b'\r', b'\n', ..] => at += size + 2,
            _ => return Err(()),
        }
    }
    loop {
        let Some(trailer) = line(&input[at..])? else { return Ok(None) };
        at += trailer.len() + 2;
        if trailer.is_empty() {
            return Ok(Some((body, at)));
        }
        if trailer.iter().any(|&byte| byte == b'\r' || byte == 0) {
            return Err(());
        }
    }
}
