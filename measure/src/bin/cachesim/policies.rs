//! Textbook policies, with sizes.

use std::collections::{BTreeSet, HashMap, VecDeque};

/// A cache of values that take so much of its capacity each.
pub(crate) trait Policy {
    /// Whether a key is there; it is, afterwards, unless it can't be.
    fn request(&mut self, key: u32, cost: u64) -> bool;
}

/// A linked list of keys, youngest first, for LRU, FIFO and SIEVE.
struct List {
    links: Vec<[u32; 2]>,
    costs: Vec<u64>,
    used: u64,
}

const NEXT: usize = 0;
const PREVIOUS: usize = 1;
const ABSENT: u64 = 0;

impl List {
    /// The last link is the list's own, so that no end is special.
    fn new(keys: usize) -> Self {
        Self { links: vec![[keys as u32; 2]; keys + 1], costs: vec![ABSENT; keys], used: 0 }
    }

    fn root(&self) -> u32 {
        self.costs.len() as u32
    }

    fn contains(&self, key: u32) -> bool {
        self.costs[key as usize] != ABSENT
    }

    fn push_front(&mut self, key: u32, cost: u64) {
        let root = self.root();
        let first = self.links[root as usize][NEXT];
        self.links[key as usize] = [first, root];
        self.links[root as usize][NEXT] = key;
        self.links[first as usize][PREVIOUS] = key;
        self.costs[key as usize] = cost;
        self.used += cost;
    }

    fn remove(&mut self, key: u32) {
        let [next, previous] = self.links[key as usize];
        self.links[next as usize][PREVIOUS] = previous;
        self.links[previous as usize][NEXT] = next;
        self.used -= std::mem::replace(&mut self.costs[key as usize], ABSENT);
    }

    fn last(&self) -> u32 {
        self.links[self.root() as usize][PREVIOUS]
    }
}

pub(crate) struct Lru(List, u64);

impl Lru {
    pub(crate) fn new(keys: usize, capacity: u64) -> Self {
        Self(List::new(keys), capacity)
    }
}

impl Policy for Lru {
    fn request(&mut self, key: u32, cost: u64) -> bool {
        let hit = self.0.contains(key);
        if hit {
            self.0.remove(key);
        }
        while self.0.used + cost > self.1 {
            self.0.remove(self.0.last());
        }
        self.0.push_front(key, cost);
        hit
    }
}

pub(crate) struct Fifo(List, u64);

impl Fifo {
    pub(crate) fn new(keys: usize, capacity: u64) -> Self {
        Self(List::new(keys), capacity)
    }
}

impl Policy for Fifo {
    fn request(&mut self, key: u32, cost: u64) -> bool {
        let hit = self.0.contains(key);
        if !hit {
            while self.0.used + cost > self.1 {
                self.0.remove(self.0.last());
            }
            self.0.push_front(key, cost);
        }
        hit
    }
}

pub(crate) struct Sieve {
    list: List,
    capacity: u64,
    visited: Vec<bool>,
    hand: Option<u32>,
}

impl Sieve {
    pub(crate) fn new(keys: usize, capacity: u64) -> Self {
        Self { list: List::new(keys), capacity, visited: vec![false; keys], hand: None }
    }

    fn evict(&mut self) {
        let mut hand = self.hand.unwrap_or_else(|| self.list.last());
        loop {
            if hand == self.list.root() {
                hand = self.list.last();
            }
            if !std::mem::take(&mut self.visited[hand as usize]) {
                break;
            }
            hand = self.list.links[hand as usize][PREVIOUS];
        }
        self.hand = Some(self.list.links[hand as usize][PREVIOUS]);
        self.list.remove(hand);
    }
}

impl Policy for Sieve {
    fn request(&mut self, key: u32, cost: u64) -> bool {
        if self.list.contains(key) {
            self.visited[key as usize] = true;
            return true;
        }
        while self.list.used + cost > self.capacity {
            self.evict();
        }
        self.list.push_front(key, cost);
        self.visited[key as usize] = false;
        false
    }
}

/// As the paper has it, with all sizes in the values' costs: a small queue of a tenth, ghosts of as
/// much as the main one holds.
pub(crate) struct S3Fifo {
    capacity: u64,
    small: Fifos,
    main: Fifos,
    ghost: Fifos,
    ghosts: HashMap<u32, u32>,
    frequency: Vec<Option<u8>>,
}

#[derive(Default)]
struct Fifos {
    keys: VecDeque<(u32, u64)>,
    used: u64,
}

impl Fifos {
    fn push(&mut self, key: u32, cost: u64) {
        self.keys.push_back((key, cost));
        self.used += cost;
    }

    fn pop(&mut self) -> Option<(u32, u64)> {
        let (key, cost) = self.keys.pop_front()?;
        self.used -= cost;
        Some((key, cost))
    }
}

impl S3Fifo {
    pub(crate) fn new(keys: usize, capacity: u64) -> Self {
        let (small, main, ghost) = Default::default();
        let ghosts = HashMap::new();
        Self { capacity, small, main, ghost, ghosts, frequency: vec![None; keys] }
    }

    fn evict(&mut self) {
        if self.small.used * 10 >= self.capacity || self.main.keys.is_empty() {
            while let Some((key, cost)) = self.small.pop() {
                if self.frequency[key as usize] > Some(1) {
                    self.frequency[key as usize] = Some(0);
                    self.main.push(key, cost);
                    continue;
                }
                self.frequency[key as usize] = None;
                self.remember(key, cost);
                return;
            }
        }
        while let Some((key, cost)) = self.main.pop() {
            match self.frequency[key as usize] {
                Some(0) | None => {
                    self.frequency[key as usize] = None;
                    return;
                }
                Some(frequency) => {
                    self.frequency[key as usize] = Some(frequency - 1);
                    self.main.push(key, cost);
                }
            }
        }
    }

    fn remember(&mut self, key: u32, cost: u64) {
        self.ghost.push(key, cost);
        *self.ghosts.entry(key).or_default() += 1;
        while self.ghost.used > self.capacity * 9 / 10
            && let Some((oldest, _)) = self.ghost.pop()
        {
            let count = self.ghosts.get_mut(&oldest).expect("it was counted");
            *count -= 1;
            if *count == 0 {
                self.ghosts.remove(&oldest);
            }
        }
    }
}

impl Policy for S3Fifo {
    fn request(&mut self, key: u32, cost: u64) -> bool {
        if let Some(frequency) = &mut self.frequency[key as usize] {
            *frequency = (*frequency + 1).min(3);
            return true;
        }
        while self.small.used + self.main.used + cost > self.capacity {
            self.evict();
        }
        if self.ghosts.contains_key(&key) {
            self.main.push(key, cost);
        } else {
            self.small.push(key, cost);
        }
        self.frequency[key as usize] = Some(0);
        false
    }
}

/// Greedy dual, size and frequency: evicted is what has the lowest hits per byte, by a clock that
/// stands at what was evicted last.
pub(crate) struct Gdsf {
    capacity: u64,
    used: u64,
    clock: f64,
    /// Frequency and priority of the keys that are there.
    present: HashMap<u32, (f64, u64, u64)>,
    order: BTreeSet<(u64, u32)>,
}

impl Gdsf {
    pub(crate) fn new(capacity: u64) -> Self {
        let (present, order) = Default::default();
        Self { capacity, used: 0, clock: 0.0, present, order }
    }

    /// Positive numbers are in the order of their bits.
    fn priority(&self, frequency: f64, cost: u64) -> u64 {
        (self.clock + frequency * 1e6 / cost as f64).to_bits()
    }
}

impl Policy for Gdsf {
    fn request(&mut self, key: u32, cost: u64) -> bool {
        let old = self.present.get(&key).copied();
        let frequency = old.map_or(1.0, |(frequency, _, _)| frequency + 1.0);
        if let Some((_, priority, _)) = old {
            self.order.remove(&(priority, key));
        } else {
            while self.used + cost > self.capacity
                && let Some((priority, evicted)) = self.order.pop_first()
            {
                self.clock = f64::from_bits(priority);
                let (_, _, cost) = self.present.remove(&evicted).expect("it is present");
                self.used -= cost;
            }
            self.used += cost;
        }
        let priority = self.priority(frequency, cost);
        self.present.insert(key, (frequency, priority, cost));
        self.order.insert((priority, key));
        old.is_some()
    }
}
