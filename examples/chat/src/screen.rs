//! The terminal interface: rooms and people on the left, what is said on the right, what is being typed below.

use std::collections::{BTreeSet, VecDeque};
use std::error::Error;
use std::time::Duration;

use crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use driftless::{Changes, utc};
use ratatui::layout::{Constraint, Layout, Position, Rect};
use ratatui::style::{Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Wrap};
use ratatui::{DefaultTerminal, Frame};

use crate::online::Online;
use crate::room::{Message, Person, Room, shown};

// How often it is looked at who is connected and what they have acknowledged; keys are heard at once.
const LOOK: Duration = Duration::from_millis(100);
// What one message may have.
const LONGEST: usize = 4000;
// Columns of a name before a message.
const NAME: usize = 16;

/// What is on the screen.
struct Screen<'o> {
    online: &'o Online,
    rooms: Vec<Room>,
    room: Room,
    names: Vec<String>,
    people: Vec<Person>,
    messages: Vec<Message>,
    unsent: BTreeSet<String>,
    peers: usize,
    typed: String,
    // Lines between the end of the room and that of the screen.
    back: usize,
    notice: Option<String>,
}

/// Shows the rooms until the user leaves.
pub(crate) fn run(online: &Online, first: &Room) -> Result<(), Box<dyn Error>> {
    // Listening begins before looking, so that nothing falls between.
    let changes = online.database.changes();
    let mut screen = Screen {
        online,
        rooms: Room::all(&online.database)?,
        room: first.clone(),
        names: Vec::new(),
        people: Vec::new(),
        messages: first.messages()?,
        unsent: BTreeSet::new(),
        peers: 0,
        typed: String::new(),
        back: 0,
        notice: None,
    };
    let mut terminal = ratatui::try_init()?;
    let ended = screen.show(&mut terminal, &changes);
    ratatui::try_restore()?;
    ended
}

impl Screen<'_> {
    fn show(&mut self, terminal: &mut DefaultTerminal, changes: &Changes) -> Result<(), Box<dyn Error>> {
        loop {
            let mut changed = false;
            while changes.wait_for(Duration::ZERO).is_some() {
                changed = true;
            }
            self.look(changed)?;
            terminal.draw(|frame| self.draw(frame))?;
            if !self.hear()? {
                return Ok(());
            }
        }
    }

    fn look(&mut self, changed: bool) -> Result<(), Box<dyn Error>> {
        let connected: BTreeSet<_> = self.online.network.connected().into_iter().collect();
        self.peers = connected.len();
        self.people = self.room.people(&connected)?;
        self.unsent = self.room.unsent()?;
        self.names = self.rooms.iter().map(Room::name).collect::<Result<_, _>>()?;
        if changed {
            self.messages = self.room.messages()?;
        }
        Ok(())
    }

    // Waits for a key, but not for long; `false` if the user leaves.
    fn hear(&mut self) -> Result<bool, Box<dyn Error>> {
        if !event::poll(LOOK)? {
            return Ok(true);
        }
        let Event::Key(key) = event::read()? else { return Ok(true) };
        if key.kind == KeyEventKind::Release {
            return Ok(true);
        }
        let page = 10;
        match key.code {
            KeyCode::Esc => return Ok(false),
            KeyCode::Char(letter) if key.modifiers.contains(KeyModifiers::CONTROL) => {
                return Ok(letter != 'c');
            }
            KeyCode::Char(letter) if self.typed.len() < LONGEST => self.typed.push(letter),
            KeyCode::Backspace => drop(self.typed.pop()),
            KeyCode::Enter => self.send(),
            KeyCode::Tab => self.turn()?,
            KeyCode::Up => self.back += 1,
            KeyCode::Down => self.back = self.back.saturating_sub(1),
            KeyCode::PageUp => self.back += page,
            KeyCode::PageDown => self.back = self.back.saturating_sub(page),
            _ => {}
        }
        Ok(true)
    }

    fn send(&mut self) {
        let text = std::mem::take(&mut self.typed);
        (self.back, self.notice) = (0, None);
        if text.trim() == "/invite" {
            self.notice = Some(format!(
                "Others join with --connect and this, while the maker of the room is there:\n\n{}",
                self.online.invitation(&self.room)
            ));
        } else if !text.trim().is_empty()
            && let Err(error) = self.room.send(&self.online.username, &text)
        {
            (self.typed, self.notice) = (text, Some(shown(&error.to_string())));
        }
    }

    // Goes to the next room.
    fn turn(&mut self) -> Result<(), Box<dyn Error>> {
        let at = self.rooms.iter().position(|room| room.id() == self.room.id()).unwrap_or(0);
        if let Some(next) = self.rooms.iter().cycle().nth(at + 1) {
            self.room = next.clone();
            self.messages = self.room.messages()?;
            (self.back, self.notice) = (0, None);
        }
        Ok(())
    }

    fn draw(&mut self, frame: &mut Frame<'_>) {
        let rows = [Constraint::Min(3), Constraint::Length(3), Constraint::Length(1)];
        let [above, input, status] = Layout::vertical(rows).areas(frame.area());
        self.draw_input(frame, input);
        self.draw_status(frame, status);
        if let Some(notice) = &self.notice {
            // Without a border, so that it can be copied.
            frame.render_widget(Paragraph::new(notice.as_str()).wrap(Wrap { trim: false }), above);
            return;
        }
        let columns = [Constraint::Length(22), Constraint::Min(20)];
        let [left, talk] = Layout::horizontal(columns).areas(above);
        let [rooms, people] = Layout::vertical([Constraint::Fill(1), Constraint::Fill(1)]).areas(left);
        frame.render_widget(
            Paragraph::new(self.room_lines()).block(Block::bordered().title(" Rooms ")),
            rooms,
        );
        let lines: Vec<Line<'_>> = self.people.iter().map(person_line).collect();
        frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(" People ")), people);
        self.draw_talk(frame, talk);
    }

    fn draw_status(&self, frame: &mut Frame<'_>, area: Rect) {
        let reach = match self.peers {
            0 => "offline: delivered later".to_owned(),
            1 => "1 peer connected".to_owned(),
            peers => format!("{peers} peers connected"),
        };
        let keys = "Enter sends  Tab next room  Up/Down scroll  /invite  Esc quits";
        frame.render_widget(Line::from(format!(" {reach}  |  {keys}")).dim(), area);
    }

    fn room_lines(&self) -> Vec<Line<'_>> {
        let rooms = self.rooms.iter().zip(&self.names);
        let line = |(room, name): (&Room, &String)| match room.id() == self.room.id() {
            true => Line::from(format!("> {name}")).bold(),
            false => Line::from(format!("  {name}")),
        };
        rooms.map(line).collect()
    }

    fn draw_talk(&mut self, frame: &mut Frame<'_>, area: Rect) {
        let at = self.rooms.iter().position(|room| room.id() == self.room.id());
        let name = at.and_then(|at| self.names.get(at)).map_or("", String::as_str);
        let block = Block::bordered().title(format!(" {name} "));
        let inner = block.inner(area);
        let (width, height) = (usize::from(inner.width), usize::from(inner.height));
        // From the newest up, only as far as is seen.
        let mut lines = VecDeque::new();
        for message in self.messages.iter().rev() {
            if lines.len() >= height + self.back {
                break;
            }
            let waiting = self.unsent.contains(&message.id.text());
            for line in message_lines(message, waiting, width).into_iter().rev() {
                lines.push_front(line);
            }
        }
        self.back = self.back.min(lines.len().saturating_sub(height));
        let first = lines.len().saturating_sub(height + self.back);
        let seen: Vec<Line<'_>> = lines.into_iter().skip(first).take(height).collect();
        frame.render_widget(Paragraph::new(seen).block(block), area);
    }

    fn draw_input(&self, frame: &mut Frame<'_>, area: Rect) {
        let block = Block::bordered().title(format!(" {} ", shown(&self.online.username)));
        let inner = block.inner(area);
        // The end of what is typed is seen, and the cursor after it.
        let room = usize::from(inner.width).saturating_sub(1);
        let mut typed = self.typed.as_str();
        while Span::raw(typed).width() > room {
            let mut letters = typed.chars();
            letters.next();
            typed = letters.as_str();
        }
        let column = Span::raw(typed).width() as u16;
        frame.render_widget(Paragraph::new(typed).block(block), area);
        frame.set_cursor_position(Position::new(inner.x + column, inner.y));
    }
}

fn person_line(person: &Person) -> Line<'_> {
    let mark = if person.connected { "* ".green() } else { "- ".dim() };
    let you = if person.you { " (you)" } else { "" };
    Line::from(vec![mark, Span::raw(person.name.as_str()), Span::raw(you)])
}

// `10:31 alice  text`, what does not fit on further lines under the text.
fn message_lines(message: &Message, waiting: bool, width: usize) -> Vec<Line<'static>> {
    let clock = utc(message.at).get(11..16).unwrap_or_default().to_owned();
    let name: String = message.from.chars().take(NAME).collect();
    let head = [
        Span::raw(clock).dim(),
        Span::raw(" "),
        if message.own { Span::raw(name).bold() } else { Span::raw(name).bold().cyan() },
        Span::raw("  "),
    ];
    let indent: usize = head.iter().map(Span::width).sum();
    let wait = if waiting { " (not delivered)" } else { "" };
    let style = if waiting { Style::new().dim() } else { Style::new() };
    let mut lines = Vec::new();
    for part in wrapped(&format!("{}{wait}", message.text), width.saturating_sub(indent)) {
        let mut spans = match lines.is_empty() {
            true => head.to_vec(),
            false => vec![Span::raw(" ".repeat(indent))],
        };
        spans.push(Span::styled(part, style));
        lines.push(Line::from(spans));
    }
    lines
}

// Cut into lines of at most so many columns, between words where it can be.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let (mut lines, mut line) = (Vec::new(), String::new());
    for letter in text.chars() {
        line.push(letter);
        if Span::raw(line.as_str()).width() > width.max(2) {
            let cut =
                line.rfind(' ').filter(|cut| *cut > 0).map_or(line.len() - letter.len_utf8(), |cut| cut + 1);
            let rest = line.split_off(cut);
            lines.push(std::mem::replace(&mut line, rest));
        }
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words_and_lose_nothing() {
        for (text, width) in
            [("one two three", 8), ("abcdefghij", 4), ("", 5), ("日本語 日本", 4), ("a b", 0)]
        {
            let lines = wrapped(text, width);
            assert_eq!(lines.concat(), text);
            assert!(lines.iter().all(|line| Span::raw(line.trim_end()).width() <= width.max(2)), "{lines:?}");
        }
        assert_eq!(wrapped("one two three", 8), ["one two ", "three"]);
    }
}
