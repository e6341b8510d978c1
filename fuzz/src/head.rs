//! A request's head by RFC 9112 §3 to §6 and the contract, one line at a time.

use crate::Statuses;

/// What the bytes from a head's first one on are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A head may still come of them. Statuses that may be answered early, if any.
    Incomplete(Statuses),
    /// Whatever follows, they are refused.
    Refused(Statuses),
    Head(Head),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    Length(u64),
    Chunked,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxAge {
    Absent,
    /// 0 counts as none.
    Seconds(u64),
    Malformed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Bytes behind the first slash, without the query.
    Path(Vec<u8>),
    Server,
    Authority,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub bytes: usize,
    pub method: Vec<u8>,
    pub target: Target,
    pub minor: u8,
    pub framing: Framing,
    pub close: bool,
    pub keep_alive: bool,
    pub expects_continue: bool,
    pub max_age: MaxAge,
    /// It has a Content-Range.
    pub part: bool,
    pub authorization: Option<Vec<u8>>,
    /// The authority of an absolute target, or else the Host.
    pub host: Option<Vec<u8>>,
    /// The lines of If-Match, If-None-Match, Range and If-Range.
    pub if_match: Vec<Vec<u8>>,
    pub if_none_match: Vec<Vec<u8>>,
    pub ranges: Vec<Vec<u8>>,
    pub if_range: Vec<Vec<u8>>,
    /// It has a Content-Digest or a Repr-Digest.
    pub digest: bool,
    /// Names in lower case and values of the fields that browsers alone send.
    pub browser_fields: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Head {
    /// Whether the connection closes after the response.
    pub fn closes(&self) -> bool {
        self.close || (self.minor == 0 && !self.keep_alive)
    }

    pub fn has_body(&self) -> bool {
        self.framing != Framing::Length(0)
    }
}

const FIELDS_MAX: usize = 100;

/// Reads the head at the start of `input`, in which no empty line stands before it.
pub fn read(input: &[u8], header_bytes_max: usize) -> Outcome {
    let mut lines: Vec<&[u8]> = Vec::new();
    let mut at = 0;
    loop {
        // A line counts when it is complete within the limit, its line end included.
        let within = &input[at..input.len().min(header_bytes_max)];
        let Some(length) = within.iter().position(|&byte| byte == b'\n') else {
            let faults = if lines.is_empty() { start_faults(within) } else { rest_faults(within) };
            if input.len() > header_bytes_max {
                let too_long = if lines.is_empty() { 414 } else { 431 };
                return Outcome::Refused([faults, vec![too_long]].concat());
            }
            // A field's line need not be looked at before it is complete, but for bytes that no
            // head has.
            return if faults.is_empty() {
                Outcome::Incomplete(Vec::new())
            } else {
                Outcome::Refused([faults, line_faults(lines.len(), within)].concat())
            };
        };
        let line = &within[..length];
        let Some(line) = line.strip_suffix(b"\r") else {
            return Outcome::Refused([vec![400], line_faults(lines.len(), line)].concat());
        };
        at += length + 1;
        if line.is_empty() {
            break;
        }
        let faults = line_faults(lines.len(), line);
        if !faults.is_empty() {
            return Outcome::Refused(faults);
        }
        if lines.is_empty() && request_line(line).is_none() {
            return Outcome::Refused(vec![400]);
        }
        lines.push(line);
    }
    whole(&lines, at)
}

/// What is wrong with the start of a request line: whether it can be completed to one.
fn start_faults(start: &[u8]) -> Statuses {
    // A CR may belong to an empty line, or end the line.
    if start.is_empty() || start == b"\r" {
        return Vec::new();
    }
    let parts: Vec<&[u8]> = start.split(|&byte| byte == b' ').collect();
    let version: &[u8] = match parts[..] {
        [_] | [_, _] => b"",
        [_, _, version] => version,
        _ => return vec![400],
    };
    let target = parts.get(1).copied().unwrap_or(b"/");
    let bad = !parts[0].iter().all(|&byte| is_token(byte))
        || !target.iter().all(|&byte| (0x21..=0x7e).contains(&byte) && byte != b'#')
        || (parts.len() > 1 && parts[0].is_empty())
        || (parts.len() > 2 && target.is_empty())
        || !b"HTTP/0.0\r".iter().zip(version).all(|(expected, byte)| match expected {
            b'0' => byte.is_ascii_digit(),
            _ => byte == expected,
        })
        || version.len() > 9;
    if bad { vec![400] } else { Vec::new() }
}

/// What is wrong with the start of a field's line as far as single bytes can tell.
fn rest_faults(start: &[u8]) -> Statuses {
    let start = start.strip_suffix(b"\r").unwrap_or(start);
    let bad = |&byte: &u8| byte != b'\t' && (byte < b' ' || byte == 0x7f);
    if start.iter().any(bad) { vec![400] } else { Vec::new() }
}

/// What is wrong with a line by itself; line 0 is the request line.
fn line_faults(number: usize, line: &[u8]) -> Statuses {
    let mut faults = Vec::new();
    if line.contains(&b'\r') || line.contains(&0) {
        faults.push(400);
    }
    if number > FIELDS_MAX {
        faults.push(431);
    }
    if number == 0 {
        let parts: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
        let well_formed = parts.len() == 3
            && !parts[0].is_empty()
            && parts[0].iter().all(|&byte| is_token(byte))
            && !parts[1].is_empty()
            // Bytes beyond ASCII and fragments are told apart from these only by the target.
            && parts[1].iter().all(|&byte| byte > b' ' && byte != 0x7f);
        if !well_formed {
            faults.push(400);
        }
        let version = parts.get(2).copied().unwrap_or_default();
        let named = version.len() == 8
            && version.starts_with(b"HTTP/")
            && version[5].is_ascii_digit()
            && version[6] == b'.'
            && version[7].is_ascii_digit();
        if !named || version[5] != b'1' {
            faults.push(if named && parts.len() == 3 { 505 } else { 400 });
            let target = parts.get(1).copied().unwrap_or_default();
            if target.iter().any(|&byte| byte >= 0x7f || byte == b'#') {
                faults.push(400);
            }
        }
    } else {
        let colon = line.iter().position(|&byte| byte == b':');
        let name = &line[..colon.unwrap_or(line.len())];
        let value = &line[colon.map_or(line.len(), |colon| colon + 1)..];
        let well_formed = colon.is_some()
            && !name.is_empty()
            && name.iter().all(|&byte| is_token(byte))
            && value.iter().all(|&byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f));
        if !well_formed {
            faults.push(400);
        }
    }
    faults
}

fn request_line(line: &[u8]) -> Option<(&[u8], Target, u8)> {
    let parts: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
    let [method, target, version] = parts[..] else { return None };
    let minor = version.last()? - b'0';
    Some((method, read_target(method, target)?, minor))
}

fn read_target(method: &[u8], target: &[u8]) -> Option<Target> {
    if !target.iter().all(|&byte| (0x21..=0x7e).contains(&byte) && byte != b'#') {
        return None;
    }
    if method == b"CONNECT" {
        return is_authority(target).then_some(Target::Authority);
    }
    if target == b"*" {
        return (method == b"OPTIONS").then_some(Target::Server);
    }
    let rest = if target[0] == b'/' {
        target
    } else {
        let lower = target.to_ascii_lowercase();
        let scheme =
            ["http://", "https://"].into_iter().find(|s| lower.starts_with(s.as_bytes()))?;
        let rest = &target[scheme.len()..];
        let end = rest.iter().position(|byte| b"/?".contains(byte)).unwrap_or(rest.len());
        if !is_authority(&rest[..end]) {
            return None;
        }
        &rest[end..]
    };
    let path = rest.split(|&byte| byte == b'?').next().unwrap_or_default();
    Some(Target::Path(path.strip_prefix(b"/").unwrap_or(path).to_vec()))
}

/// What a complete head of well-formed lines means.
fn whole(lines: &[&[u8]], bytes: usize) -> Outcome {
    let mut faults = Vec::new();
    let Some((method, target, minor)) = lines.first().and_then(|line| request_line(line)) else {
        faults.push(400);
        return Outcome::Refused(faults);
    };
    let values = |wanted: &str| -> Vec<&[u8]> {
        let fields = lines[1..].iter().map(|line| {
            let colon = line.iter().position(|&byte| byte == b':').unwrap();
            (line[..colon].to_ascii_lowercase(), trim(&line[colon + 1..]))
        });
        fields.filter(|(name, _)| name == wanted.as_bytes()).map(|(_, value)| value).collect()
    };
    let hosts = values("host");
    if hosts.len() > 1
        || (minor > 0 && hosts.is_empty())
        || hosts.iter().any(|host| !host.is_empty() && !is_authority(host))
    {
        faults.push(400);
    }
    let authorizations = values("authorization");
    if authorizations.len() > 1 {
        faults.push(400);
    }
    let expectations = values("expect");
    // HTTP/1.0 knows no expectations (RFC 9110 §10.1.1).
    if minor > 0 && expectations.iter().any(|value| !value.eq_ignore_ascii_case(b"100-continue")) {
        faults.push(417);
    }
    let codings = values("transfer-encoding");
    let lengths = values("content-length");
    let mut length = None;
    for value in &lengths {
        let text = std::str::from_utf8(value).unwrap_or("x");
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse::<u64>() {
            Ok(n) if digits && length.is_none() => length = Some(n),
            _ => faults.push(400),
        }
    }
    let mut framing = Framing::Length(length.unwrap_or(0));
    if !codings.is_empty() {
        framing = Framing::Chunked;
        let names: Vec<Vec<u8>> = elements(&codings);
        if !lengths.is_empty() || minor == 0 || names.last().is_none_or(|last| last != b"chunked") {
            faults.push(400);
        }
        let is_empty = |element: &[u8]| trim(element).is_empty();
        if codings.join(&b","[..]).split(|&byte| byte == b',').any(is_empty) {
            faults.push(400);
        }
        if names.iter().filter(|name| *name == b"chunked").count() > 1 {
            faults.push(400);
        }
        if names.iter().any(|name| name != b"chunked") {
            faults.push(501);
        }
        // With something other than chunked at its end the list is 400, never 501.
        if names.last().is_some_and(|last| last != b"chunked") {
            faults.retain(|&fault| fault != 501);
        }
    }
    if !faults.is_empty() {
        return Outcome::Refused(faults);
    }
    let options = elements(&values("connection"));
    Outcome::Head(Head {
        bytes,
        method: method.to_vec(),
        target,
        minor,
        framing,
        close: options.iter().any(|option| option == b"close"),
        keep_alive: options.iter().any(|option| option == b"keep-alive"),
        expects_continue: (minor > 0 && !expectations.is_empty()) || method == b"CONNECT",
        max_age: max_age(&values("cache-control")),
        part: !values("content-range").is_empty(),
        if_match: owned(&values("if-match")),
        if_none_match: owned(&values("if-none-match")),
        ranges: owned(&values("range")),
        if_range: owned(&values("if-range")),
        digest: !values("content-digest").is_empty() || !values("repr-digest").is_empty(),
        authorization: authorizations.first().map(|value| value.to_vec()),
        host: authority(lines[0]).or_else(|| hosts.first().map(|host| host.to_vec())),
        browser_fields: browser_fields(&lines[1..]),
    })
}

fn owned(values: &[&[u8]]) -> Vec<Vec<u8>> {
    values.iter().map(|value| value.to_vec()).collect()
}

/// The authority of an absolute target.
fn authority(request_line: &[u8]) -> Option<Vec<u8>> {
    let mut parts = request_line.split(|&byte| byte == b' ');
    let (method, target) = (parts.next()?, parts.next()?);
    if method == b"CONNECT" || !target.first()?.is_ascii_alphabetic() {
        return None;
    }
    let start = target.windows(3).position(|three| three == b"://")? + 3;
    let rest = &target[start..];
    let end = rest.iter().position(|byte| b"/?".contains(byte)).unwrap_or(rest.len());
    Some(rest[..end].to_vec())
}

fn browser_fields(lines: &[&[u8]]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let fields = lines.iter().map(|line| {
        let colon = line.iter().position(|&byte| byte == b':').unwrap();
        (line[..colon].to_ascii_lowercase(), trim(&line[colon + 1..]).to_vec())
    });
    fields.filter(|(name, _)| name == b"origin" || name.starts_with(b"sec-fetch-")).collect()
}

fn max_age(values: &[&[u8]]) -> MaxAge {
    let mut found = MaxAge::Absent;
    for directive in values.iter().flat_map(|value| directives(value)) {
        let mut parts = directive.splitn(2, |&byte| byte == b'=');
        if !trim(parts.next().unwrap_or_default()).eq_ignore_ascii_case(b"max-age") {
            continue;
        }
        let digits = unquoted(trim(parts.next().unwrap_or_default()));
        let digits = digits.filter(|digits| !digits.is_empty());
        let age = match digits {
            Some(digits) if digits.iter().all(u8::is_ascii_digit) => {
                let text = String::from_utf8(digits).unwrap();
                MaxAge::Seconds(text.parse::<u64>().unwrap_or(u64::MAX).min(u64::from(u32::MAX)))
            }
            _ => MaxAge::Malformed,
        };
        found = if found == MaxAge::Absent || found == age { age } else { MaxAge::Malformed };
    }
    found
}

/// What stands between the commas of a field that are not within a quoted string.
fn directives(value: &[u8]) -> Vec<Vec<u8>> {
    let mut all = vec![Vec::new()];
    let mut is_quoted = false;
    let mut bytes = value.iter();
    while let Some(&byte) = bytes.next() {
        if byte == b',' && !is_quoted {
            all.push(Vec::new());
            continue;
        }
        let directive = all.last_mut().unwrap();
        directive.push(byte);
        if byte == b'\\' && is_quoted {
            directive.extend(bytes.next());
        }
        is_quoted ^= byte == b'"';
    }
    all
}

/// A token as it is, a quoted string without its quotes; `None` if it is neither.
fn unquoted(argument: &[u8]) -> Option<Vec<u8>> {
    let Some(rest) = argument.strip_prefix(b"\"") else { return Some(argument.to_vec()) };
    let mut text = Vec::new();
    let mut bytes = rest.iter();
    loop {
        match *bytes.next()? {
            b'"' => return bytes.as_slice().is_empty().then_some(text),
            b'\\' => text.push(*bytes.next()?),
            byte => text.push(byte),
        }
    }
}

/// The elements of a list that is spread over fields, in lower case, without the empty ones.
fn elements(values: &[&[u8]]) -> Vec<Vec<u8>> {
    let all = values.join(&b","[..]);
    let elements =
        all.split(|&byte| byte == b',').map(|element| trim(element).to_ascii_lowercase());
    elements.filter(|element| !element.is_empty()).collect()
}

/// Without optional white space (RFC 9110 §5.6.3) around it.
fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// tchar (RFC 9110 §5.6.2).
pub fn is_token(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z') || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// `host[:port]` with a host that is not empty (RFC 3986 §3.2.2 and §3.2.3).
fn is_authority(bytes: &[u8]) -> bool {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let sub_delimiter = |byte: u8| b"!$&'()*+,;=".contains(&byte);
    let plain = |byte: u8| unreserved(byte) || sub_delimiter(byte) || byte == b'%';
    let (host, port) = match bytes.strip_prefix(b"[") {
        Some(inner) => {
            let Some(end) = inner.iter().position(|&byte| byte == b']') else { return false };
            (&inner[..end], &inner[end + 1..])
        }
        None => bytes.split_at(bytes.iter().position(|&byte| byte == b':').unwrap_or(bytes.len())),
    };
    let literal = bytes.starts_with(b"[");
    let port_well_formed = match port.split_first() {
        None => true,
        Some((b':', digits)) => digits.iter().all(u8::is_ascii_digit),
        Some(_) => false,
    };
    !host.is_empty()
        && host.iter().all(|&byte| plain(byte) || (literal && byte == b':'))
        && port_well_formed
}
