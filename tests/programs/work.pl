# Strings, hashes, sorting, regular expressions, closures and fork.
use strict;
use warnings;
my ($rounds) = @ARGV;
my %seen;
my $state = 12345;
sub draw { $state = ($state * 1103515245 + 12345) % 2147483648; return $state % $_[0]; }
for my $round (1 .. $rounds) {
    my $word = join '', map { chr(97 + draw(26)) } 1 .. 3 + draw(12);
    push @{ $seen{$word} }, $round;
    $seen{ substr $word, 0, 3 }[draw(5)] = "$word:$round";
}
for my $word ((sort keys %seen)[0 .. 500]) {
    print "$word ", join(',', map { $_ // '-' } @{ $seen{$word} }), "\n";
}
my $text = join ' ', sort { $seen{$a} && $a cmp $b } keys %seen;
my $vowels = () = $text =~ /[aeiou]/g;
(my $turned = $text) =~ s/(\w)(\w+)/\U$2$1/g;
print length($text), " $vowels ", unpack('%32C*', $turned), "\n";
my @closures = map { my $n = $_; sub { $n += $_[0]; return $n } } 1 .. 2000;
my $sum = 0;
$sum += $_->(3) for @closures, @closures;
print "$sum\n";
for my $child (1 .. 20) {
    my $pid = open(my $from, '-|') // die;
    if (!$pid) {
        my %own = map { $_ => "x" x draw(100) } 1 .. 500;
        print "child $child ", length(join '', @own{ sort keys %own }), "\n";
        exit $child;
    }
    print while <$from>;
    close $from;
    print "status ", $? >> 8, "\n";
}
print scalar(`echo from a shell`);
printf "%s\n", join ' ', map { sprintf '%05.1f', sqrt } 1 .. 50;
