//! suppaftp as a program: `suppaftp ADDRESS USER PASSWORD COMMAND`, where COMMAND is one of `get
//! REMOTE LOCAL`, `put LOCAL REMOTE`, `mirror REMOTE LOCAL` (the files of one directory) and `ls
//! REMOTE`.

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use suppaftp::list::ListParser;
use suppaftp::types::FileType;
use suppaftp::{FtpStream, Mode};

fn get(server: &mut FtpStream, remote: &str, local: &Path) -> Result<(), Box<dyn Error>> {
    let mut data = server.retr_as_stream(remote)?;
    let mut file = File::create(local)?;
    std::io::copy(&mut data, &mut file)?;
    data.finish()?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [address, user, password, command @ ..] = &words[..] else {
        return Err("usage: suppaftp ADDRESS USER PASSWORD COMMAND".into());
    };
    let mut server = FtpStream::connect(*address)?;
    server.set_mode(Mode::ExtendedPassive);
    server.login(*user, *password)?;
    server.transfer_type(FileType::Binary)?;
    match command {
        ["get", remote, local] => get(&mut server, remote, Path::new(local))?,
        ["put", local, remote] => {
            server.put_file(remote, &mut File::open(local)?)?;
        }
        ["mirror", remote, local] => {
            server.cwd(remote)?;
            std::fs::create_dir_all(local)?;
            for name in server.nlst(None)? {
                get(&mut server, &name, &Path::new(local).join(&name))?;
            }
        }
        ["ls", remote] => {
            let mut out = BufWriter::new(std::io::stdout().lock());
            for line in server.list(Some(remote))? {
                if let Ok(file) = ListParser::parse_posix(&line) {
                    writeln!(out, "{}", file.name())?;
                }
            }
            out.flush()?;
        }
        _ => return Err("no such command".into()),
    }
    server.quit()?;
    Ok(())
}
