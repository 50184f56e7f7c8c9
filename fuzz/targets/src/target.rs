//! A target: a function of bytes, what it may cost, and inputs to begin with. It does not know which there are.

/// Something that takes bytes from outside.
#[derive(Debug)]
pub struct Target {
    /// The name of the fuzzer's program and of the folder of its corpus.
    pub name: &'static str,
    /// The longest input worth trying.
    pub longest: usize,
    /// What it may cost.
    pub allowance: Allowance,
    /// Tries one input; panics if something does not hold.
    pub run: fn(&[u8]),
    /// Inputs that are valid, or nearly.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Whether it only decodes: then it is quick, and is tried often.
    pub decodes: bool,
}

/// What a target may cost beyond the common measure.
#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    /// Bytes of heap besides those for each byte of input.
    pub heap: usize,
    /// Bytes of heap for each byte of input.
    pub per_byte: usize,
    /// How many times `TIME` each piece may take.
    pub time: u32,
}

/// What decoders get: one MiB, what the input stands for, and the common time.
pub(crate) const DECODER: Allowance = Allowance { heap: 1024 * 1024, per_byte: 16, time: 1 };
