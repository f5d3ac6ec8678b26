//! From arguments to configuration: paths made absolute, files read, defaults filled in, wishes
//! that can't go together refused.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use osync::config::{
    Address, Backup, Fsync, Limits, LocalConfig, PORT_DEFAULT, SinkConfig, SourceConfig,
};
use osync::error::Error;
use osync::model::attributes::Carried;
use osync::model::bandwidth::Bandwidth;
use osync::model::limits::INVITE_BYTES_MAX;
use osync::model::owners::{IdRule, OwnerMap};
use osync::model::priority::{Nice, Priority};
use osync::model::session::{DeletePolicy, Trust};

use crate::cli::SourceOptions;
use crate::cli::{
    CommonArgs, Delete, FsyncWord, LimitArgs, LocalArgs, LogArgs, SinkArgs, SinkOptions, SourceArgs,
};

/// What the command line and the surroundings say of a source.
pub fn source(args: &SourceArgs, log: &LogArgs) -> Result<SourceConfig, Error> {
    let directory = absolute(&args.directory)?;
    let state = state(args.common.state.as_deref())?;
    check_outside(&directory, &state, log)?;
    let config =
        source_config(directory, state, &args.options, PORT_DEFAULT, Ipv4Addr::UNSPECIFIED)?;
    let limits = Limits { iops: config.limits.iops, ..limits(&args.limits) };
    Ok(SourceConfig { dry: args.common.dry_run, limits, ..config })
}

/// What the command line and the surroundings say of a sink.
pub fn sink(args: &SinkArgs, log: &LogArgs) -> Result<SinkConfig, Error> {
    let directory = absolute(&args.directory)?;
    let state = state(args.common.state.as_deref())?;
    check_outside(&directory, &state, log)?;
    let invite = match (&args.invite, &args.invite_file) {
        (Some(invite), _) => Some(invite.clone()),
        (None, Some(file)) => Some(read_invite(file)?),
        (None, None) => std::env::var("OSYNC_INVITE").ok(),
    };
    let invite = invite.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let config = sink_config(args.source.clone(), directory, state, invite, &args.options)?;
    let limits = limits(&args.limits);
    Ok(SinkConfig { wanted: args.habits.wanted, dry: args.common.dry_run, limits, ..config })
}

/// What the command line and the surroundings say of both operators in one process.
pub fn local(args: &LocalArgs, log: &LogArgs) -> Result<LocalConfig, Error> {
    let (from, to) = (absolute(&args.from)?, absolute(&args.to)?);
    check_apart(&from, &to)?;
    let state = state(args.common.state.as_deref())?;
    check_outside(&from, &state, log)?;
    check_outside(&to, &state, log)?;
    let source = source_config(from, state.clone(), &args.source, 0, Ipv4Addr::LOCALHOST)?;
    let address = Address { host: Ipv4Addr::LOCALHOST.to_string(), port: source.port };
    let sink = sink_config(address, to, state, None, &args.sink)?;
    if let Backup::Dir(backup) = &sink.backup {
        check_apart(&source.directory, backup)?;
    }
    let dry = args.common.dry_run;
    // The limit on bytes is the source's here: said once, it is shown once.
    let limits = limits(&args.limits);
    let theirs = Limits { bandwidth: Bandwidth::default(), ..limits.clone() };
    let ours = Limits { iops: source.limits.iops, ..limits };
    Ok(LocalConfig {
        source: SourceConfig { dry, limits: ours, ..source },
        sink: SinkConfig { dry, limits: theirs, ..sink },
    })
}

fn limits(args: &LimitArgs) -> Limits {
    Limits {
        bandwidth: args.bwlimit.clone().unwrap_or_default(),
        iops: None,
        priority: Priority {
            nice: args.nice.unwrap_or(Nice::OF_BACKLOG),
            io: args.ionice.unwrap_or_default(),
        },
    }
}

/// Where the report goes, absolute; the directory that is to hold it has to exist.
pub fn report(common: &CommonArgs) -> Result<Option<PathBuf>, Error> {
    let Some(file) = &common.report else { return Ok(None) };
    let file = absolute(file)?;
    let holds = file.parent().is_some_and(Path::is_dir);
    if !holds || file.is_dir() {
        let text = format!(
            "Can't write a report to \"{}\": give a file in a directory that exists",
            file.display()
        );
        return Err(Error::Usage(text));
    }
    Ok(Some(file))
}

/// Where keys and ledgers live.
pub fn state(given: Option<&Path>) -> Result<PathBuf, Error> {
    let home = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    if let Some(given) = given {
        absolute(given)
    } else if rustix::process::geteuid().is_root() {
        Ok(PathBuf::from("/var/lib/osync"))
    } else if let Some(state) = home("XDG_STATE_HOME") {
        Ok(state.join("osync"))
    } else if let Some(home) = home("HOME") {
        Ok(home.join(".local/state/osync"))
    } else {
        Err(Error::Usage("There is no home directory to keep keys in: give --state DIR".into()))
    }
}

/// A path made absolute, its links left alone.
pub fn absolute(path: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(path)
        .map(|path| path.components().collect())
        .map_err(|error| Error::Usage(format!("\"{}\" is no path: {error}", path.display())))
}

fn source_config(
    directory: PathBuf,
    state: PathBuf,
    options: &SourceOptions,
    port: u16,
    bind: Ipv4Addr,
) -> Result<SourceConfig, Error> {
    Ok(SourceConfig {
        directory,
        state,
        bind: options.bind.unwrap_or(IpAddr::V4(bind)),
        port: options.port.unwrap_or(port),
        data_ports: options.data_ports,
        invite_file: options.invite_file.as_deref().map(absolute).transpose()?,
        watch: options.watch,
        max_delete: options.max_delete.unwrap_or_default(),
        carried: options.habits.carried,
        selection: options.filters.selection(options.habits.kinds)?,
        limits: Limits { iops: options.iops.and_then(|iops| iops.0), ..Limits::default() },
        whole_files: options.whole_file,
        packing: options.packing.resolved(),
        dry: false,
    })
}

fn sink_config(
    source: Address,
    directory: PathBuf,
    state: PathBuf,
    invite: Option<String>,
    options: &SinkOptions,
) -> Result<SinkConfig, Error> {
    Ok(SinkConfig {
        backup: backup(&directory, options)?,
        source,
        directory,
        state,
        invite,
        delete: match options.delete {
            Delete::Never => DeletePolicy::Never,
            Delete::Live => DeletePolicy::Live,
            Delete::All => DeletePolicy::All,
        },
        fsync: match options.fsync {
            FsyncWord::None => Fsync::None,
            FsyncWord::Batch => Fsync::Batch,
            FsyncWord::File => Fsync::File,
        },
        once: options.once,
        timeout: options.timeout,
        connect_timeout: options.connect_timeout,
        wanted: Carried { atimes: true, ..Carried::all() },
        owners: owners(options),
        strict: options.strict,
        is_sparse: !options.no_sparse,
        trust: match (options.checksum, options.changes_only) {
            (true, _) => Trust::Content,
            (_, true) => Trust::Declared,
            _ => Trust::Times,
        },
        limits: Limits::default(),
        dry: false,
    })
}

/// What becomes of what is removed or replaced; a directory for it has to lie apart.
fn backup(directory: &Path, options: &SinkOptions) -> Result<Backup, Error> {
    let Some(backup) = &options.backup_dir else {
        return Ok(if options.trash { Backup::Trash } else { Backup::Nothing });
    };
    let backup = absolute(backup)?;
    check_apart(&backup, directory)?;
    Ok(Backup::Dir(backup))
}

fn owners(options: &SinkOptions) -> OwnerMap {
    let rules = |rules: &Option<Vec<IdRule>>| rules.clone().unwrap_or_default();
    options.chown.clone().unwrap_or_else(|| OwnerMap {
        users: rules(&options.usermap),
        groups: rules(&options.groupmap),
    })
}

/// An invite is short: a file that is not is no invite.
fn read_invite(file: &Path) -> Result<String, Error> {
    let read = || {
        let mut text = String::new();
        let opened = std::fs::File::open(file)?;
        io::Read::read_to_string(&mut io::Read::take(opened, INVITE_BYTES_MAX as u64), &mut text)?;
        Ok(text)
    };
    let text: String =
        read().map_err(|error: io::Error| Error::disk("Can't read the invite", file, error))?;
    if text.trim().is_empty() {
        let text = format!("The invite file \"{}\" is empty", file.display());
        return Err(Error::Usage(text));
    }
    Ok(text)
}

/// osync's own files must not lie in the tree: they would change it without end, or stay in it.
fn check_outside(directory: &Path, state: &Path, log: &LogArgs) -> Result<(), Error> {
    let tree = resolved(directory);
    let log = log.log_file.as_deref().map(absolute).transpose()?;
    for (what, path) in [("state directory", Some(state)), ("log file", log.as_deref())] {
        if let Some(path) = path
            && resolved(path).starts_with(&tree)
        {
            return Err(Error::Usage(format!(
                "The {what} \"{}\" lies inside \"{}\" itself: choose another with --{}",
                path.display(),
                directory.display(),
                if what == "log file" { "log-file" } else { "state" },
            )));
        }
    }
    Ok(())
}

fn check_apart(from: &Path, to: &Path) -> Result<(), Error> {
    let (source, sink) = (resolved(from), resolved(to));
    let says = if source == sink {
        "is the same as"
    } else if source.starts_with(&sink) {
        "lies inside"
    } else if sink.starts_with(&source) {
        "contains"
    } else {
        return Ok(());
    };
    Err(Error::Usage(format!(
        "\"{}\" {says} \"{}\": choose two directories apart",
        from.display(),
        to.display()
    )))
}

/// A path with the links of all of it that exists resolved.
fn resolved(path: &Path) -> PathBuf {
    for above in path.ancestors() {
        if let (Ok(real), Ok(rest)) = (above.canonicalize(), path.strip_prefix(above)) {
            return if rest.as_os_str().is_empty() { real } else { real.join(rest) };
        }
    }
    path.to_owned()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{check_apart, check_outside, resolved};
    use crate::cli::LogArgs;

    #[test]
    fn trees_lie_apart_whatever_the_links() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().join("real");
        std::fs::create_dir_all(real.join("below")).unwrap();
        std::os::unix::fs::symlink(&real, dir.path().join("link")).unwrap();
        let link = dir.path().join("link");
        assert_eq!(resolved(&link.join("not/there")), resolved(&real).join("not/there"));
        assert!(check_apart(&real, &link).is_err());
        assert!(check_apart(&real.join("below"), &link).is_err());
        assert!(check_apart(&real, &link.join("below/new")).is_err());
        assert!(check_apart(&real, &dir.path().join("real2")).is_ok());
        let log = LogArgs { log_file: Some(link.join("log")), verbose: 0 };
        assert!(check_outside(&real, Path::new("/var/lib/osync"), &log).is_err());
        let log = LogArgs { log_file: None, verbose: 0 };
        assert!(check_outside(&real, &link.join("state"), &log).is_err());
        assert!(check_outside(&real, dir.path(), &log).is_ok());
    }
}
