//! Lines from standard input, as they come: whole ones, many at a time where many are there.

use std::io::{self, BufRead};

use tokio::sync::mpsc;

/// The longest line taken; a longer one ends the input with an error, as no record could hold it.
const LONGEST_LINE: usize = 32 << 20;

/// Lots of lines that wait to be taken.
const LOTS: usize = 4;

type Lot = io::Result<Vec<Vec<u8>>>;

/// Lines, read ahead by a thread of their own.
#[derive(Debug)]
pub(super) struct Lines {
    lots: mpsc::Receiver<Lot>,
}

impl Lines {
    /// Reads standard input. To be called inside a tokio runtime.
    pub(super) fn of_standard_input() -> Self {
        let (sender, lots) = mpsc::channel(LOTS);
        tokio::task::spawn_blocking(move || {
            let mut reader = Reader::new(io::BufReader::with_capacity(64 << 10, io::stdin().lock()));
            while let Some(lot) = reader.next() {
                let is_last = lot.is_err();
                if sender.blocking_send(lot).is_err() || is_last {
                    break;
                }
            }
        });
        Self { lots }
    }

    /// The next lines, as many as are there; `None` at the end.
    pub(super) async fn next(&mut self) -> io::Result<Option<Vec<Vec<u8>>>> {
        self.lots.recv().await.transpose()
    }
}

/// Cuts what is read into lines.
#[derive(Debug)]
struct Reader<R> {
    input: R,
    begun: Vec<u8>,
    ended: bool,
}

impl<R: BufRead> Reader<R> {
    const fn new(input: R) -> Self {
        Self { input, begun: Vec::new(), ended: false }
    }

    /// The lines that one read completes; a last one without a line feed is a line too.
    fn next(&mut self) -> Option<Lot> {
        let mut lines = Vec::new();
        while lines.is_empty() && !self.ended {
            if let Err(error) = self.read(&mut lines) {
                return Some(Err(error));
            }
        }
        (!lines.is_empty()).then_some(Ok(lines))
    }

    fn read(&mut self, lines: &mut Vec<Vec<u8>>) -> io::Result<()> {
        let read = match self.input.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        };
        let bytes = read.len();
        if bytes == 0 {
            self.ended = true;
            if !self.begun.is_empty() {
                lines.push(std::mem::take(&mut self.begun));
            }
            return Ok(());
        }
        let mut pieces = read.split(|byte| *byte == b'\n');
        let rest = pieces.next_back().unwrap_or_default();
        for piece in pieces {
            self.begun.extend_from_slice(piece);
            lines.push(std::mem::take(&mut self.begun));
        }
        self.begun.extend_from_slice(rest);
        self.input.consume(bytes);
        if self.begun.len() > LONGEST_LINE {
            let text = format!("a line of more than {LONGEST_LINE} bytes cannot be a record");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lots(input: &str, buffer: usize) -> Vec<Vec<String>> {
        let mut reader = Reader::new(io::BufReader::with_capacity(buffer, input.as_bytes()));
        let mut lots = Vec::new();
        while let Some(lot) = reader.next() {
            lots.push(lot.unwrap().into_iter().map(|line| String::from_utf8(line).unwrap()).collect());
        }
        lots
    }

    #[test]
    fn lines_come_whole_however_they_were_read() {
        for buffer in [1, 2, 3, 7, 100] {
            let all = lots("one\n\ntwo three\nfour", buffer).concat();
            assert_eq!(all, ["one", "", "two three", "four"], "{buffer}");
        }
    }

    #[test]
    fn what_one_read_completes_comes_together() {
        assert_eq!(lots("a\nb\nc\n", 100), [["a", "b", "c"]]);
        assert!(lots("", 100).is_empty());
    }

    #[test]
    fn a_line_that_never_ends_is_an_error() {
        let endless = io::BufReader::with_capacity(1 << 20, io::repeat(b'x'));
        let error = Reader::new(endless).next().unwrap().unwrap_err();
        assert!(error.to_string().contains("cannot be a record"));
    }
}
