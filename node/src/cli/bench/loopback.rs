//! `millstream bench loopback`: what one TCP connection over loopback carries, as a yardstick from the same machine and
//! minute. It is what the kernel copies; no cluster takes part.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use clap::{Arg, ArgMatches, Command};
use serde::Serialize;
use tokio::time::Instant;

use super::super::quantity::{duration, mb_per_s, thousandth};
use super::super::{Failure, say};

const PIECE_BYTES: usize = 128 << 10;

pub(super) fn command() -> Command {
    Command::new("loopback")
        .about("Measure what one TCP connection over loopback carries, to compare with")
        .arg(
            Arg::new("duration")
                .long("duration")
                .value_name("TIME")
                .value_parser(duration)
                .default_value("3s")
                .help("How long"),
        )
}

#[derive(Debug, Serialize)]
struct Measured {
    bench: &'static str,
    secs: f64,
    mb_per_s: f64,
}

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let time = matches.get_one::<Duration>("duration").copied().unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mb_per_s = runtime.block_on(measure(time))?;
    let measured = Measured { bench: "loopback", secs: thousandth(time.as_secs_f64()), mb_per_s };
    say(&serde_json::to_string(&measured)?)
}

/// Millions of bytes a second over one connection, for so long.
pub(super) async fn measure(time: Duration) -> io::Result<f64> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let start = Instant::now();
    let sending = tokio::task::spawn_blocking(move || send(&mut TcpStream::connect(address)?, start + time));
    let receiving = tokio::task::spawn_blocking(move || receive(&mut listener.accept()?.0));
    sending.await??;
    let bytes = receiving.await??;
    Ok(thousandth(mb_per_s(bytes, start.elapsed())))
}

fn send(stream: &mut TcpStream, until: Instant) -> io::Result<()> {
    let piece = vec![7; PIECE_BYTES];
    while Instant::now() < until {
        stream.write_all(&piece)?;
    }
    Ok(())
}

fn receive(stream: &mut TcpStream) -> io::Result<u64> {
    let (mut piece, mut bytes) = (vec![0; PIECE_BYTES], 0);
    loop {
        match stream.read(&mut piece)? {
            0 => return Ok(bytes),
            read => bytes += u64::try_from(read).unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_carries_something() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        assert!(runtime.block_on(measure(Duration::from_millis(20))).unwrap() > 0.0);
    }
}
