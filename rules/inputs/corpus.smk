"""What the rules of corpus.smk take: functions of their wildcards."""

_digests = {}


def digest_shard(wildcards):
    """Digest of the entries of a corpus that belong to a shard. A clip that is added to a list changes the digest of one shard.

    Only the main process computes the digests, for its plan. It reads the lists once for all shards.
    """
    from vidmem.corpus.listing import digest_shards

    if not workflow.is_main_process:
        return PLANNED
    if wildcards.corpus not in _digests:
        try:
            _digests[wildcards.corpus] = digest_shards(config["corpora"][wildcards.corpus]["sources"], config["shards"])
        except VidmemError as error:  # the job will raise this error, while the other jobs go on
            _digests[wildcards.corpus] = [str(error)] * config["shards"]
    return _digests[wildcards.corpus][int(wildcards.shard)]


def corpus_footage(wildcards):
    """Keys of a corpus that change its frames."""
    return audit.footage(wildcards.corpus)


def shards_to_list(wildcards):
    """Files that a list of shards names."""
    return audit.listed_shards(wildcards.set, wildcards.kind)


def names_in_list(wildcards):
    """Names of the groups of files in a list of shards."""
    return list(LISTED_SHARDS[wildcards.kind])
