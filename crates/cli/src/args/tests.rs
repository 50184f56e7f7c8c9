//! Every command explains itself, and its examples can be typed.

use clap::CommandFactory;

use super::*;

fn each(command: &clap::Command, check: &mut impl FnMut(&clap::Command)) {
    check(command);
    command.get_subcommands().for_each(|below| each(below, check));
}

#[test]
fn every_command_says_what_it_does_and_shows_an_example() {
    Arguments::command().debug_assert();
    each(&Arguments::command(), &mut |command| {
        let name = command.get_name();
        assert!(command.get_about().is_some(), "{name} has no sentence");
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(help.contains("EXAMPLES\n"), "{name} has no example");
    });
}

/// Words as a shell splits them, as far as examples go: spaces, single quotes, a comment, a pipe, a redirection.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), None::<String>, false);
    for character in line.chars() {
        match character {
            '\'' => {
                quoted = !quoted;
                // Also nothing between two quotes is a word.
                word.get_or_insert_default();
            }
            '#' | '|' | '>' if !quoted => break,
            ' ' if !quoted => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    words
}

#[test]
fn every_example_can_be_typed() {
    each(&Arguments::command(), &mut |command| {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let examples = help.lines().filter(|line| line.starts_with("  driftless "));
        for line in examples {
            // Reading the arguments without an error is what counts; a global `--json` must never get in the way.
            for words in [words(line), [words(line), vec!["--json".to_owned()]].concat()] {
                let parsed = Arguments::try_parse_from(&words);
                assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
            }
        }
    });
}
