# Tcllib's ftp: HOST PORT USER PASSWORD WAY; steps on standard input, as verb TAB from TAB to.
package require ftp

lassign $argv host port user password way
set ::ftp::VERBOSE 1

proc must {done} {
    if {!$done} {error refused}
}

proc do {ftp verb from to} {
    if {[string match *Text $verb]} {ftp::Type $ftp ascii} else {ftp::Type $ftp binary}
    switch $verb {
        Put - PutText {must [ftp::Put $ftp $from $to]}
        Get - GetText {must [ftp::Get $ftp $from $to]}
        ContinuePut {
            set file [open $from rb]
            seek $file [ftp::FileSize $ftp $to]
            must [ftp::Append $ftp -channel $file $to]
        }
        ContinueGet {must [ftp::Reget $ftp $from $to]}
        List {puts [join [ftp::List $ftp $from] \n]}
        Names {puts [join [ftp::NList $ftp $from] \n]}
        MakeDirectory {must [ftp::MkDir $ftp $from]}
        RemoveDirectory {must [ftp::RmDir $ftp $from]}
        Delete {must [ftp::Delete $ftp $from]}
        Rename {must [ftp::Rename $ftp $from $to]}
        default {error "no such verb: $verb"}
    }
}

set ftp [ftp::Open $host $user $password -port $port -mode [string tolower $way] -timeout 20]
if {$ftp < 0} {error {no login}}
while {[gets stdin step] >= 0} {
    do $ftp {*}[split $step \t]
}
ftp::Close $ftp
