//! `--request-file`: requests to any HTTP server, one JSON object per line.
//!
//! ```text
//! {"method": "POST", "path": "/item/{key}?v={n}", "headers": ["Accept: */*"], "body": "x", "weight": 2}
//! ```
//!
//! A request is determined by its number: connection `i` of `c` sends those numbered `i`, `i + c`,
//! `i + 2c` and so on, and what is sent again after an announced close is the same again.

use std::fs;
use std::path::{Path, PathBuf};

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};
use serde::Deserialize;

use super::distribution::{Growth, Sampler};
use super::error::Error;
use super::method::Method;
use super::mix::{COIN_END, Mix, Operation};
use super::request::{check_field, name_of, shared_fields};
use super::target::Target;
use super::template::Template;
use super::workload::Workload;

/// The longest file that is read, in bytes, and the most that all bodies take together.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// The most requests that a file may list.
const ENTRIES_MAX: usize = 1 << 20;

/// In which order the requests of a file are sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Order {
    /// One after the other, and from the beginning again.
    #[default]
    Sequence,
    /// Each time one of them, as often as its weight says.
    Random,
}

impl Order {
    /// The name on the command line and in the JSON.
    pub fn key(self) -> &'static str {
        match self {
            Self::Sequence => "sequence",
            Self::Random => "random",
        }
    }
}

/// A line of the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    method: Option<String>,
    path: String,
    #[serde(default)]
    headers: Vec<String>,
    body: Option<String>,
    body_file: Option<PathBuf>,
    weight: Option<f64>,
}

/// A request as the file has it, checked.
#[derive(Debug, Clone)]
struct Entry {
    verb: String,
    path: Template,
    fields: Vec<String>,
    body: Vec<u8>,
    weight: f64,
}

/// The requests of a file.
#[derive(Debug, Clone)]
pub struct RequestFile {
    /// The file.
    pub path: PathBuf,
    /// In which order they are sent.
    pub order: Order,
    entries: Vec<Entry>,
}

impl RequestFile {
    /// Reads a file. Paths of bodies are relative to its folder.
    pub fn read(path: &Path, order: Order) -> Result<Self, Error> {
        let bad = |why: String| Error::usage(format!("{}: {why}", path.display()));
        let text = read_limited(path, FILE_BYTES_MAX).map_err(bad)?;
        let text = String::from_utf8(text).map_err(|_| bad("not UTF-8".to_owned()))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut room = FILE_BYTES_MAX;
        let mut entries = Vec::new();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let entry = Entry::parse(line, folder, &mut room)
                .map_err(|why| bad(format!("line {}: {why}", index + 1)))?;
            if order == Order::Sequence && entry.weight != 1.0 {
                let why = "weights are for --request-order random";
                return Err(bad(format!("line {}: {why}", index + 1)));
            }
            entries.push(entry);
            if entries.len() > ENTRIES_MAX {
                return Err(bad(format!("more than {ENTRIES_MAX} requests")));
            }
        }
        if !entries.iter().any(|entry| entry.weight > 0.0) {
            return Err(bad("no request".to_owned()));
        }
        Ok(Self { path: path.to_owned(), order, entries })
    }

    /// How many requests it lists.
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// How often each method is sent.
    pub fn mix(&self) -> Mix {
        let operations = self.entries.iter();
        let operations =
            operations.map(|entry| (Operation::Send(Method::of(&entry.verb)), entry.weight));
        Mix::of(&operations.collect::<Vec<_>>())
    }
}

impl Entry {
    fn parse(line: &str, folder: &Path, room: &mut u64) -> Result<Self, String> {
        let line: Line = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let verb = line.method.unwrap_or_else(|| "GET".to_owned());
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if verb.is_empty() || !verb.bytes().all(token) || verb == "CONNECT" {
            return Err(format!("'{}' is not a method that can be sent", verb.escape_debug()));
        }
        let path = Template::parse_path(&line.path)
            .map_err(|why| format!("path '{}': {why}", line.path.escape_debug()))?;
        line.headers.iter().try_for_each(|field| check_field(field))?;
        let body = match (line.body, line.body_file) {
            (Some(_), Some(_)) => return Err("both body and body_file".to_owned()),
            (Some(body), None) => body.into_bytes(),
            (None, Some(file)) => {
                let file = folder.join(file);
                read_limited(&file, *room).map_err(|why| format!("{}: {why}", file.display()))?
            }
            (None, None) => Vec::new(),
        };
        *room = room.saturating_sub(body.len() as u64);
        let weight = line.weight.unwrap_or(1.0);
        if !(weight.is_finite() && weight >= 0.0) {
            return Err("weight is not a number from 0 up".to_owned());
        }
        Ok(Self { verb, path, fields: line.headers, body, weight })
    }

    /// The whole request. Its own fields replace those of all requests that have the same name.
    fn render(&self, target: &Target, fields: &[String]) -> Template {
        let is_own = |field: &&String| {
            self.fields.iter().any(|own| name_of(own).eq_ignore_ascii_case(name_of(field)))
        };
        let fields: Vec<_> =
            fields.iter().filter(|field| !is_own(field)).chain(&self.fields).cloned().collect();
        let start = format!("{} {}", self.verb, target.path_prefix());
        let mut request = self.path.after(start.as_bytes());
        request.push(shared_fields(target, &fields));
        let wants_body = ["POST", "PUT", "PATCH"].contains(&self.verb.as_str());
        if wants_body || !self.body.is_empty() {
            request.push(format!("Content-Length: {}\r\n", self.body.len()));
        }
        request.push("\r\n");
        request.push(&self.body);
        request
    }
}

fn read_limited(path: &Path, bytes_max: u64) -> Result<Vec<u8>, String> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() > bytes_max => {
            Err(format!("more than {bytes_max} bytes, all bodies together"))
        }
        Ok(_) => fs::read(path).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// The requests of a file, rendered for a server.
#[derive(Debug)]
pub(super) struct RequestList {
    requests: Vec<(Method, Template)>,
    /// Request `i` is sent for coins below `limits[i]` that no earlier one took. Empty if they are
    /// sent in sequence.
    limits: Vec<u64>,
    sampler: Sampler,
    /// No request is known to insert a key.
    growth: Growth,
    seed: u64,
}

impl RequestList {
    pub(super) fn new(
        file: &RequestFile,
        workload: &Workload,
        target: &Target,
        fields: &[String],
    ) -> Self {
        let requests = file.entries.iter();
        let weights = file.entries.iter().map(|entry| entry.weight);
        Self {
            requests: requests
                .map(|entry| (Method::of(&entry.verb), entry.render(target, fields)))
                .collect(),
            limits: match file.order {
                Order::Sequence => Vec::new(),
                Order::Random => limits(weights),
            },
            sampler: Sampler::new(workload.distribution, workload.keys),
            growth: Growth::new(workload.keys),
            seed: workload.seed,
        }
    }

    /// The method of the request of this number.
    pub(super) fn method(&self, number: u64) -> Method {
        self.requests[self.pick(number, &mut self.random(number))].0
    }

    /// Appends the request of this number.
    pub(super) fn render(&self, out: &mut Vec<u8>, number: u64) {
        let mut random = self.random(number);
        let index = self.pick(number, &mut random);
        let key = self.sampler.sample(&mut random, &self.growth);
        self.requests[index].1.render(out, key, number);
    }

    fn random(&self, number: u64) -> Xoshiro256PlusPlus {
        // The golden ratio spreads neighbouring numbers over the space of seeds.
        let spread = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Xoshiro256PlusPlus::seed_from_u64(self.seed ^ spread)
    }

    fn pick(&self, number: u64, random: &mut impl Rng) -> usize {
        if self.limits.is_empty() {
            return (number % self.requests.len() as u64) as usize;
        }
        let coin = random.next_u64() >> 32;
        self.limits.partition_point(|&limit| limit <= coin)
    }
}

/// Where the shares of the weights end in `[0, COIN_END)`.
fn limits(weights: impl Iterator<Item = f64> + Clone) -> Vec<u64> {
    let sum: f64 = weights.clone().sum();
    let last = weights.clone().enumerate().filter(|&(_, weight)| weight > 0.0).last();
    let mut reached = 0.0;
    let mut limits: Vec<_> = weights
        .map(|weight| {
            reached += weight / sum;
            (reached * COIN_END as f64).round() as u64
        })
        .collect();
    // Rounding must not leave coins that no request takes, nor give them to one of weight 0.
    limits[last.map_or(0, |(index, _)| index)..].fill(COIN_END);
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(lines: &str, order: Order) -> RequestList {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("requests");
        fs::write(folder.path().join("body"), "from a file").unwrap();
        fs::write(&path, lines).unwrap();
        let file = RequestFile::read(&path, order).unwrap();
        let workload = Workload {
            keys: 10,
            distribution: crate::distribution::Distribution::Uniform,
            mix: file.mix(),
            values: crate::values::Values::Counter,
            seed: 1,
            read_through: false,
        };
        let target = Target::parse("http://a/v1").unwrap();
        RequestList::new(&file, &workload, &target, &["X: all".to_owned(), "Y: all".to_owned()])
    }

    fn rendered(list: &RequestList, number: u64) -> String {
        let mut out = Vec::new();
        list.render(&mut out, number);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn requests_are_sent_in_sequence_as_the_file_has_them() {
        let list = list(
            "{\"path\": \"/one?n={n}\"}\n\n\
             {\"method\": \"PATCH\", \"path\": \"/two\", \"headers\": [\"x: own\"], \
             \"body_file\": \"body\"}\n",
            Order::Sequence,
        );
        assert_eq!(
            [rendered(&list, 0), rendered(&list, 3), rendered(&list, 4)],
            [
                "GET /v1/one?n=0 HTTP/1.1\r\nHost: a\r\nX: all\r\nY: all\r\n\r\n",
                "PATCH /v1/two HTTP/1.1\r\nHost: a\r\nY: all\r\nx: own\r\nContent-Length: 11\r\n\
                 \r\nfrom a file",
                "GET /v1/one?n=4 HTTP/1.1\r\nHost: a\r\nX: all\r\nY: all\r\n\r\n",
            ]
        );
        assert_eq!((list.method(0), list.method(1)), (Method::Get, Method::Other));
    }

    #[test]
    fn requests_at_random_have_their_weights_and_depend_on_their_number_alone() {
        let list = list(
            "{\"path\": \"/{key}\", \"weight\": 3}\n{\"path\": \"/never\", \"weight\": 0}\n\
             {\"method\": \"DELETE\", \"path\": \"/{key}\"}\n",
            Order::Random,
        );
        let mut deletes = 0;
        let mut keys = [0; 10];
        for number in 0..10_000 {
            let request = rendered(&list, number);
            assert_eq!(request, rendered(&list, number));
            let is_delete = request.starts_with("DELETE");
            assert_eq!(list.method(number) == Method::Delete, is_delete);
            deletes += u32::from(is_delete);
            let key = request.split(['/', ' ']).nth(3).unwrap();
            keys[key.parse::<usize>().expect(&request)] += 1;
        }
        // Six standard deviations, and more.
        assert!((2200..2800).contains(&deletes), "{deletes}");
        assert!(keys.iter().all(|count| (800..1200).contains(count)), "{keys:?}");
    }

    #[test]
    fn a_wrong_line_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("requests");
        for (line, about) in [
            ("", "no request"),
            ("{\"path\": \"/\"}\nx", "line 2: "),
            ("{}", "missing field `path`"),
            ("{\"path\": \"/\", \"paht\": 1}", "unknown field `paht`"),
            ("{\"path\": \"x\"}", "begins with a slash"),
            ("{\"path\": \"/\", \"method\": \"A B\"}", "'A B' is not a method"),
            ("{\"path\": \"/\", \"method\": \"CONNECT\"}", "'CONNECT' is not a method"),
            ("{\"path\": \"/\", \"headers\": [\"Content-Length: 1\"]}", "of the framing"),
            ("{\"path\": \"/\", \"body\": \"\", \"body_file\": \"x\"}", "both body and body_file"),
            ("{\"path\": \"/\", \"body_file\": \"x\"}", "No such file"),
            ("{\"path\": \"/\", \"weight\": 2}", "--request-order random"),
            ("{\"path\": \"/\", \"weight\": -1}", "not a number from 0 up"),
        ] {
            fs::write(&path, line).unwrap();
            let error = RequestFile::read(&path, Order::Sequence).expect_err(line).to_string();
            assert!(error.contains(about), "{line}: {error}");
        }
    }
}
