//! With which settings a stream was made.

use super::corrections::correct;
use super::parse::{BlockKind, Parsed};
use super::predict::{Predictor, Settings, Strategy};

/// Settings are compared over so many matches from the start, and literals between them.
const TRIAL_MATCHES: usize = 4 << 10;
/// Levels, the likely ones first.
const LEVELS: [u8; 9] = [6, 9, 8, 7, 5, 1, 4, 3, 2];
/// The best settings of so many are tried over the whole stream.
const WHOLE_TRIALS: usize = 4;

/// The shortest corrections that are found; `None` where they would be longer than `max_bytes`.
pub(super) fn best_corrections(parsed: &Parsed, max_bytes: usize) -> Option<Vec<u8>> {
    // Stored blocks and the like are in the corrections whatever the settings.
    let good_bytes = 16 + parsed.compressed_bytes / 1024;
    let mut best: Option<Vec<u8>> = None;
    for settings in rank_settings(parsed).into_iter().take(WHOLE_TRIALS) {
        let limit = best.as_ref().map_or(max_bytes, |best| best.len().saturating_sub(1));
        if let Some(corrections) = correct(parsed, settings, limit) {
            let is_good = corrections.len() <= good_bytes;
            best = Some(corrections);
            if is_good {
                break;
            }
        }
    }
    best
}

/// Settings, those that predict the start of the stream best first.
fn rank_settings(parsed: &Parsed) -> Vec<Settings> {
    let mut trials = Trials { parsed, ranked: Vec::new() };
    let memories = memories(parsed);
    for strategy in strategies(parsed) {
        for level in levels(strategy, parsed) {
            let is_perfect = trials.run(Settings { level, strategy, memory: memories[0] });
            if is_perfect {
                break;
            }
        }
    }
    trials.ranked.sort_by_key(|(wrong, _)| *wrong);
    if trials.ranked.first().is_some_and(|(wrong, _)| *wrong > 0) {
        let best: Vec<Settings> =
            trials.ranked.iter().take(WHOLE_TRIALS / 2).map(|(_, settings)| *settings).collect();
        for memory in &memories[1..] {
            for settings in &best {
                trials.run(Settings { memory: *memory, ..*settings });
            }
        }
        trials.ranked.sort_by_key(|(wrong, _)| *wrong);
    }
    trials.ranked.into_iter().map(|(_, settings)| settings).collect()
}

/// Settings that were tried, each with the tokens that it predicts wrongly.
struct Trials<'a> {
    parsed: &'a Parsed,
    ranked: Vec<(usize, Settings)>,
}

impl Trials<'_> {
    /// Whether all tokens of the stream are predicted rightly.
    fn run(&mut self, settings: Settings) -> bool {
        let least = self.ranked.iter().map(|(wrong, _)| *wrong).min();
        let enough = least.map_or(usize::MAX, |least| least.saturating_mul(2) + 16);
        let (wrong, is_whole) = count_wrong(self.parsed, settings, enough);
        self.ranked.push((wrong, settings));
        is_whole && wrong == 0
    }
}

fn strategies(parsed: &Parsed) -> Vec<Strategy> {
    let matches = || parsed.tokens.iter().filter(|token| !token.is_literal());
    if matches().next().is_some() && matches().all(|token| token.distance == 1) {
        vec![Strategy::Runs, Strategy::Default]
    } else if matches().all(|token| token.length > 5) {
        vec![Strategy::Default, Strategy::Filtered]
    } else {
        vec![Strategy::Default]
    }
}

fn levels(strategy: Strategy, parsed: &Parsed) -> Vec<u8> {
    if parsed.tokens.iter().all(|token| token.is_literal()) {
        vec![0]
    } else if strategy == Strategy::Runs {
        vec![6]
    } else {
        LEVELS.to_vec()
    }
}

/// What the blocks' lengths say about zlib's `memLevel`, the likeliest first.
fn memories(parsed: &Parsed) -> Vec<u8> {
    let coded = parsed.blocks.iter().filter(|block| !matches!(block.kind, BlockKind::Stored));
    let longest = coded.clone().map(|block| block.tokens).max().unwrap_or(0);
    let full =
        |memory: u8| Settings { level: 6, strategy: Strategy::Default, memory }.block_tokens();
    let is_cut = |at: usize| coded.clone().any(|block| !block.is_last && block.tokens == at);
    if let Some(memory) = (1..=8).find(|memory| is_cut(full(*memory))) {
        return vec![memory];
    }
    match longest {
        _ if longest > full(8) || coded.clone().any(|block| block.tokens.is_multiple_of(4096)) => {
            vec![0, 9]
        }
        _ => vec![8, 9],
    }
}

/// How many tokens at the start are not as predicted, not counted beyond `enough`; and whether those
/// are all tokens.
fn count_wrong(parsed: &Parsed, settings: Settings, enough: usize) -> (usize, bool) {
    let mut predictor = Predictor::new(&parsed.plain, settings);
    let mut tokens = parsed.tokens.iter();
    let (mut wrong, mut matches) = (0, 0);
    for block in &parsed.blocks {
        if matches!(block.kind, BlockKind::Stored) {
            predictor.skip(block.plain_bytes);
        }
        for token in tokens.by_ref().take(block.tokens) {
            wrong += usize::from(predictor.predict() != *token);
            matches += usize::from(!token.is_literal());
            if wrong > enough || matches > TRIAL_MATCHES {
                return (wrong, false);
            }
            predictor.advance(*token);
        }
    }
    (wrong, true)
}
