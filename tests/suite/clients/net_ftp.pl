# Perl's Net::FTP: HOST PORT USER PASSWORD WAY; steps on standard input, as verb TAB from TAB to.
use strict;
use warnings;
use Net::FTP;

my ($host, $port, $user, $password, $way) = @ARGV;
my $ftp = Net::FTP->new($host, Port => $port, Passive => $way eq 'Passive', Timeout => 20, Debug => 1)
    or die $@;

sub must { die $ftp->message unless $_[0] }

# Net::FTP appends, and leaves it to its user to begin where the file there ends.
sub append {
    my ($from, $to) = @_;
    open my $file, '<:raw', $from or die $!;
    seek $file, $ftp->size($to), 0 or die $!;
    must $ftp->append($file, $to);
}

my %do = (
    Put => sub { must $ftp->binary; must $ftp->put(@_) },
    Get => sub { must $ftp->binary; must $ftp->get(@_) },
    PutText => sub { must $ftp->ascii; must $ftp->put(@_) },
    GetText => sub { must $ftp->ascii; must $ftp->get(@_) },
    ContinuePut => sub { must $ftp->binary; append(@_) },
    ContinueGet => sub { must $ftp->binary; must $ftp->get(@_, -s $_[1]) },
    List => sub { must my $lines = $ftp->dir($_[0]); print "$_\n" for @$lines },
    Names => sub { must my $names = $ftp->ls($_[0]); print "$_\n" for @$names },
    MakeDirectory => sub { must $ftp->mkdir($_[0]) },
    RemoveDirectory => sub { must $ftp->rmdir($_[0]) },
    Delete => sub { must $ftp->delete($_[0]) },
    Rename => sub { must $ftp->rename(@_) },
);

must $ftp->login($user, $password);
while (my $step = <STDIN>) {
    chomp $step;
    my ($verb, @names) = split /\t/, $step;
    $do{$verb}->(@names);
}
must $ftp->quit;
