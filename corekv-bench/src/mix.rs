//! How often each operation comes.

use super::method::Method;

/// What one draw of the workload makes: a request, or several that belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// One request.
    Send(Method),
    /// A PUT of a key that is new.
    Insert,
    /// GETs of neighbouring keys.
    Scan,
    /// A GET, and when that is answered, a PUT of the same key.
    ReadModifyWrite,
}

impl Operation {
    /// Every operation: the methods in their order, and what is made of them.
    pub const ALL: [Self; Method::COUNT + 3] = [
        Self::Send(Method::Get),
        Self::Send(Method::Post),
        Self::Send(Method::Head),
        Self::Send(Method::Put),
        Self::Send(Method::Delete),
        Self::Send(Method::Other),
        Self::Insert,
        Self::Scan,
        Self::ReadModifyWrite,
    ];

    /// The name on the command line and in JSON.
    pub fn key(self) -> &'static str {
        match self {
            Self::Send(method) => method.key(),
            Self::Insert => "insert",
            Self::Scan => "scan",
            Self::ReadModifyWrite => "rmw",
        }
    }

    /// Whether it sends such requests.
    pub fn sends(self, method: Method) -> bool {
        match self {
            Self::Send(one) => one == method,
            Self::Insert => method == Method::Put,
            Self::Scan => method == Method::Get,
            Self::ReadModifyWrite => matches!(method, Method::Get | Method::Put),
        }
    }
}

/// The number of operations.
const COUNT: usize = Operation::ALL.len();

/// How often each operation comes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mix {
    shares: [f64; COUNT],
    /// Operation `i` comes for coins below `limits[i]` that no earlier operation took.
    limits: [u64; COUNT],
}

/// Coins are drawn from `[0, COIN_END)`.
pub(super) const COIN_END: u64 = 1 << 32;

impl Mix {
    /// A share of POSTs, GETs for the rest.
    pub fn write_ratio(ratio: f64) -> Self {
        Self::of(&[
            (Operation::Send(Method::Get), 1.0 - ratio),
            (Operation::Send(Method::Post), ratio),
        ])
    }

    /// Parses `get=70,post=20,delete=10`; the weights need not add up to anything in particular.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut weights = Vec::new();
        for part in text.split(',') {
            let (name, weight) =
                part.split_once('=').ok_or_else(|| format!("'{part}' is not METHOD=WEIGHT"))?;
            let operation = Operation::ALL
                .into_iter()
                .filter(|&operation| operation != Operation::Send(Method::Other))
                .find(|operation| operation.key().eq_ignore_ascii_case(name.trim()))
                .ok_or_else(|| {
                    let names =
                        Operation::ALL.map(Operation::key).join(", ").replace("other, ", "");
                    format!("'{name}' is none of {names}")
                })?;
            let weight: f64 = weight.trim().parse().unwrap_or(-1.0);
            if !(weight.is_finite() && weight >= 0.0) {
                return Err(format!("the weight of {} is not a number from 0 up", operation.key()));
            }
            weights.retain(|&(known, _)| known != operation);
            weights.push((operation, weight));
        }
        if weights.iter().map(|(_, weight)| weight).sum::<f64>() <= 0.0 {
            return Err("all weights are 0".to_owned());
        }
        Ok(Self::of(&weights))
    }

    /// A mix of these operations; at least one weight is above 0, and none below.
    pub fn of(operations: &[(Operation, f64)]) -> Self {
        let weights = Operation::ALL.map(|one| {
            let same = operations.iter().filter(|(operation, _)| *operation == one);
            same.map(|(_, weight)| weight).sum::<f64>()
        });
        let sum: f64 = weights.iter().sum();
        let shares = weights.map(|weight| weight / sum);
        let mut reached = 0.0;
        let mut limits = shares.map(|share| {
            reached += share;
            (reached * COIN_END as f64).round() as u64
        });
        // Rounding must not leave coins that nothing takes, nor give them to one of weight 0.
        let last = weights.iter().rposition(|&weight| weight > 0.0).unwrap_or(0);
        limits[last..].fill(COIN_END);
        Self { shares, limits }
    }

    /// The operations that come, and the share of each, from 0 to 1.
    pub fn operations(&self) -> impl Iterator<Item = (Operation, f64)> {
        Operation::ALL.into_iter().zip(self.shares).filter(|&(_, share)| share > 0.0)
    }

    /// The share of an operation, from 0 to 1.
    pub fn share(&self, operation: Operation) -> f64 {
        self.operations().find(|&(one, _)| one == operation).map_or(0.0, |(_, share)| share)
    }

    /// Whether any request has this method.
    pub fn sends(&self, method: Method) -> bool {
        self.operations().any(|(operation, _)| operation.sends(method))
    }

    pub(super) fn pick(&self, coin: u64) -> Operation {
        let index = self.limits.iter().position(|&limit| coin < limit).unwrap_or(0);
        Operation::ALL[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_the_write_ratio_leave_no_other_method() {
        for (ratio, only) in [(0.0, Method::Get), (1.0, Method::Post)] {
            let mix = Mix::write_ratio(ratio);
            for coin in [0, 1, COIN_END / 2, COIN_END - 1] {
                assert_eq!(mix.pick(coin), Operation::Send(only));
            }
        }
    }

    #[test]
    fn a_wrong_mix_is_refused() {
        for text in
            ["", "get", "get=x", "get=-1", "get=0", "patch=1", "get=inf", "get=NaN", "other=1"]
        {
            assert!(Mix::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn operations_are_made_of_requests() {
        let mix = Mix::parse("rmw=1,get=1").unwrap();
        assert!(mix.sends(Method::Get) && mix.sends(Method::Put) && !mix.sends(Method::Post));
        assert_eq!(mix.share(Operation::ReadModifyWrite), 0.5);
        assert!(Mix::parse("scan=1").unwrap().sends(Method::Get));
    }
}
