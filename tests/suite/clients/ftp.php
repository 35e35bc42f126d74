<?php
// PHP's FTP functions: HOST PORT USER PASSWORD WAY; steps on standard input, as verb TAB from TAB to.

// What would only warn ends the script, with the server's words.
set_error_handler(function ($number, $text) {
    throw new ErrorException($text);
});

function must($done)
{
    if ($done === false) {
        throw new Exception('refused');
    }
    return $done;
}

function print_lines(array $lines)
{
    foreach ($lines as $line) {
        echo "$line\n";
    }
}

// From PHP's own reading of MLSD.
function entry(array $facts): string
{
    return "{$facts['type']} {$facts['size']} {$facts['name']}";
}

[, $host, $port, $user, $password, $way] = $argv;
$ftp = must(ftp_connect($host, (int) $port, 20));
must(ftp_login($ftp, $user, $password));
must(ftp_pasv($ftp, $way === 'Passive'));
while (($step = fgets(STDIN)) !== false) {
    [$verb, $from, $to] = explode("\t", rtrim($step, "\n"));
    match ($verb) {
        'Put' => must(ftp_put($ftp, $to, $from, FTP_BINARY)),
        'Get' => must(ftp_get($ftp, $to, $from, FTP_BINARY)),
        'PutText' => must(ftp_put($ftp, $to, $from, FTP_ASCII)),
        'GetText' => must(ftp_get($ftp, $to, $from, FTP_ASCII)),
        'ContinuePut' => must(ftp_put($ftp, $to, $from, FTP_BINARY, FTP_AUTORESUME)),
        'ContinueGet' => must(ftp_get($ftp, $to, $from, FTP_BINARY, FTP_AUTORESUME)),
        'List' => print_lines(array_merge(
            must(ftp_rawlist($ftp, $from)),
            array_map('entry', array_filter(must(ftp_mlsd($ftp, $from)), fn($facts) => $facts['type'] === 'file')),
        )),
        'Names' => print_lines(must(ftp_nlist($ftp, $from))),
        'MakeDirectory' => must(ftp_mkdir($ftp, $from)),
        'RemoveDirectory' => must(ftp_rmdir($ftp, $from)),
        'Delete' => must(ftp_delete($ftp, $from)),
        'Rename' => must(ftp_rename($ftp, $from, $to)),
    };
}
must(ftp_close($ftp));
