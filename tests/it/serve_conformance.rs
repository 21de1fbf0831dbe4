//! What distribution-spec asks of a registry, as tables of steps.
//!
//! Each table runs once for each digest algorithm, on a server of its own.

use lapstrake::oci::media_type::{OCI_INDEX, OCI_MANIFEST};

use crate::support::steps::Must::{self, Bytes, Error, Header, Json, Name, Part, Without};
use crate::support::steps::Sends::{Body, Chunk, Document, Nothing, Range};
use crate::support::steps::{Step, run};

/// A blob is there, whole.
const LAYER_IS_THERE: &[Step] = &[
    Step(
        "HEAD /v2/a/b/blobs/{layer}",
        Nothing,
        200,
        &[Header("content-length", "3000"), Header("docker-content-digest", "{layer}")],
    ),
    Step("GET /v2/a/b/blobs/{layer}", Nothing, 200, &[Bytes("layer"), Header("docker-content-digest", "{layer}")]),
    Step("DELETE /v2/a/b/blobs/{layer}", Nothing, 202, &[]),
    Step("HEAD /v2/a/b/blobs/{layer}", Nothing, 404, &[]),
    Step("GET /v2/a/b/blobs/{layer}", Nothing, 404, &[Error("BLOB_UNKNOWN")]),
    Step("DELETE /v2/a/b/blobs/{layer}", Nothing, 404, &[Error("BLOB_UNKNOWN")]),
];
const OPEN: Step =
    Step("POST /v2/a/b/blobs/uploads/", Nothing, 202, &[Name("location", "upload"), Name("docker-upload-uuid", "id")]);
const CREATED: &[Must] = &[Name("location", "there"), Header("docker-content-digest", "{layer}")];
const READ: Step = Step("GET {there}", Nothing, 200, &[Bytes("layer")]);

#[tokio::test]
async fn blobs_are_pushed_in_every_way() {
    let post_only = &[Step("POST /v2/a/b/blobs/uploads/?digest={layer}", Body("layer"), 201, CREATED), READ];
    let post_put = &[OPEN, Step("PUT {upload}?digest={layer}", Body("layer"), 201, CREATED), READ];
    let told_algorithm = &[
        Step("POST /v2/a/b/blobs/uploads/?digest-algorithm={algorithm}", Nothing, 202, &[Name("location", "upload")]),
        Step("PUT {upload}?digest={layer}", Body("layer"), 201, CREATED),
        READ,
    ];
    let stream = &[
        OPEN,
        Step("PATCH {upload}", Body("layer"), 202, &[Name("location", "upload"), Header("range", "0-2999")]),
        Step("PUT {upload}?digest={layer}", Nothing, 201, CREATED),
        READ,
    ];
    let chunks = &[
        OPEN,
        Step("PATCH {upload}", Chunk("0-999", "first"), 202, &[Name("location", "upload"), Header("range", "0-999")]),
        Step(
            "PATCH {upload}",
            Chunk("1000-1999", "second"),
            202,
            &[Name("location", "upload"), Header("range", "0-1999")],
        ),
        Step(
            "PATCH {upload}",
            Chunk("2000-2999", "third"),
            202,
            &[Name("location", "upload"), Header("range", "0-2999")],
        ),
        Step("PUT {upload}?digest={layer}", Nothing, 201, CREATED),
        READ,
    ];
    let chunk_in_put = &[
        OPEN,
        Step("PATCH {upload}", Chunk("0-999", "first"), 202, &[Name("location", "upload")]),
        Step("PATCH {upload}", Chunk("1000-1999", "second"), 202, &[Name("location", "upload")]),
        Step("PUT {upload}?digest={layer}", Chunk("2000-2999", "third"), 201, CREATED),
        READ,
    ];
    let out_of_order = &[
        OPEN,
        Step("PATCH {upload}", Chunk("1000-1999", "second"), 416, &[]),
        Step("GET {upload}", Nothing, 204, &[Header("range", "0-0"), Name("location", "upload")]),
        Step("PATCH {upload}", Chunk("0-999", "first"), 202, &[]),
        Step("PATCH {upload}", Chunk("2000-2999", "third"), 416, &[Name("location", "upload")]),
        Step("PUT {upload}?digest={layer}", Chunk("2000-2999", "third"), 416, &[]),
        Step("PATCH {upload}", Chunk("0-999", "first"), 416, &[]),
        Step("GET {upload}", Nothing, 204, &[Header("range", "0-999"), Header("docker-upload-uuid", "{id}")]),
        Step("PATCH {upload}", Chunk("1000-1999", "second"), 202, &[Header("range", "0-1999")]),
        Step("PUT {upload}?digest={layer}", Chunk("2000-2999", "third"), 201, CREATED),
        READ,
    ];
    for way in [&post_only[..], post_put, told_algorithm, stream, chunks, chunk_in_put, out_of_order] {
        run(&[way, LAYER_IS_THERE]).await;
    }
}

#[tokio::test]
async fn blobs_that_are_not_what_they_should_be_are_refused() {
    run(&[
        &[Step("POST /v2/a/b/blobs/uploads/?digest={layer}", Body("first"), 400, &[Error("DIGEST_INVALID")]), OPEN],
        &[Step("PUT {upload}?digest={layer}", Body("first"), 400, &[Error("DIGEST_INVALID")]), OPEN],
        &[Step("PATCH {upload}", Body("first"), 202, &[])],
        &[Step("PUT {upload}?digest={layer}", Nothing, 400, &[Error("DIGEST_INVALID")]), OPEN],
        &[Step("PATCH {upload}", Chunk("0-999", "first"), 202, &[])],
        &[Step("PUT {upload}?digest={layer}", Chunk("1000-1999", "second"), 400, &[Error("DIGEST_INVALID")]), OPEN],
        &[
            Step("PATCH {upload}", Chunk("999-0", "first"), 400, &[Error("BLOB_UPLOAD_INVALID")]),
            Step("PATCH {upload}", Chunk("0-99", "first"), 400, &[Error("SIZE_INVALID")]),
            Step("PUT {upload}", Body("layer"), 400, &[Error("DIGEST_INVALID")]),
            Step("PUT {upload}?digest=sha256:short", Body("layer"), 400, &[Error("DIGEST_INVALID")]),
            Step("PUT {upload}?digest=md5:00", Body("layer"), 400, &[Error("DIGEST_INVALID")]),
            Step("GET /v2/a/b/blobs/{layer}", Nothing, 404, &[Error("BLOB_UNKNOWN")]),
            Step("GET {upload}", Nothing, 204, &[Header("range", "0-0")]),
            Step("DELETE {upload}", Nothing, 204, &[]),
            Step("GET {upload}", Nothing, 404, &[Error("BLOB_UPLOAD_UNKNOWN")]),
            Step("PATCH {upload}", Body("layer"), 404, &[Error("BLOB_UPLOAD_UNKNOWN")]),
            Step("PUT {upload}?digest={layer}", Body("layer"), 404, &[Error("BLOB_UPLOAD_UNKNOWN")]),
            Step("DELETE {upload}", Nothing, 404, &[Error("BLOB_UPLOAD_UNKNOWN")]),
            Step(
                "GET /v2/a/b/blobs/uploads/00000000-0000-0000-0000-000000000000",
                Nothing,
                404,
                &[Error("BLOB_UPLOAD_UNKNOWN")],
            ),
            Step("PATCH /v2/a/b/blobs/uploads/%2fetc", Body("layer"), 404, &[Error("BLOB_UPLOAD_UNKNOWN")]),
            Step("POST /v2/a/b/blobs/uploads/?digest-algorithm=crc32", Nothing, 400, &[Error("DIGEST_INVALID")]),
            Step("POST /v2/a/b/blobs/uploads/?mount=sha256:short", Nothing, 400, &[Error("DIGEST_INVALID")]),
        ],
    ])
    .await;
}

#[tokio::test]
async fn ranges_small_blobs_and_mounts_are_answered() {
    let of_layer = |range, from, to| {
        Step(
            "GET /v2/a/b/blobs/{layer}",
            Range(range),
            206,
            Vec::leak(vec![Part("layer", from, to), Header("accept-ranges", "bytes")]),
        )
    };
    let outside =
        |range| Step("GET /v2/a/b/blobs/{layer}", Range(range), 416, &[Header("content-range", "bytes */3000")]);
    run(&[
        &[Step("POST /v2/a/b/blobs/uploads/?digest={layer}", Body("layer"), 201, &[])],
        &[of_layer("bytes=500-1499", 500, 1500), of_layer("bytes=500-", 500, 3000), of_layer("bytes=-500", 2500, 3000)],
        &[of_layer("bytes=2900-5000", 2900, 3000), outside("bytes=500-0"), outside("bytes=5000-10000")],
        &[
            Step(
                "GET /v2/a/b/blobs/{layer}",
                Range("bytes=0-9"),
                206,
                &[Header("content-range", "bytes 0-9/3000"), Header("content-length", "10")],
            ),
            Step("POST /v2/a/b/blobs/uploads/?digest={empty}", Nothing, 201, &[]),
            Step("HEAD /v2/a/b/blobs/{empty}", Nothing, 200, &[Header("content-length", "0")]),
            Step("GET /v2/a/b/blobs/{empty}", Nothing, 200, &[Bytes("empty")]),
            Step("POST /v2/a/b/blobs/uploads/?digest={json}", Body("json"), 201, &[]),
            Step("GET /v2/a/b/blobs/{json}", Nothing, 200, &[Bytes("json")]),
            Step("POST /v2/c/blobs/uploads/?mount={layer}&from=a/b", Nothing, 201, CREATED),
            READ,
            Step("POST /v2/d/blobs/uploads/?mount={layer}", Nothing, 201, CREATED),
            READ,
            Step("POST /v2/c/blobs/uploads/?mount={absent}&from=a/b", Nothing, 202, &[Name("location", "upload")]),
            Step("PUT {upload}?digest={absent}", Body("absent"), 201, &[Header("docker-content-digest", "{absent}")]),
            Step("POST /v2/c/blobs/uploads/?mount={json}&from=never", Nothing, 202, &[Name("location", "upload")]),
            Step("DELETE {upload}", Nothing, 204, &[]),
            Step("DELETE /v2/a/b/blobs/{layer}", Nothing, 202, &[]),
            Step("GET /v2/c/blobs/{layer}", Nothing, 200, &[Bytes("layer")]),
        ],
    ])
    .await;
}

/// The blobs of the documents.
const BLOBS: &[Step] = &[
    Step("POST /v2/a/b/blobs/uploads/?digest={layer}", Body("layer"), 201, &[]),
    Step("POST /v2/a/b/blobs/uploads/?digest={json}", Body("json"), 201, &[]),
];
const IMAGE: Step = Step(
    "PUT /v2/a/b/manifests/{image}",
    Document(OCI_MANIFEST, "image"),
    201,
    &[Header("docker-content-digest", "{image}"), Name("location", "there"), Without("oci-subject")],
);

#[tokio::test]
async fn manifests_are_kept_under_tags_and_digests() {
    run(&[
        BLOBS,
        &[
            IMAGE,
            Step("GET {there}", Nothing, 200, &[Bytes("image"), Header("content-type", OCI_MANIFEST)]),
            Step(
                "HEAD /v2/a/b/manifests/{image}",
                Nothing,
                200,
                &[Header("content-type", OCI_MANIFEST), Header("docker-content-digest", "{image}")],
            ),
            Step(
                "PUT /v2/a/b/manifests/{image}?tag=one&tag=two",
                Document(OCI_MANIFEST, "image"),
                201,
                &[Header("oci-tag", "one"), Header("docker-content-digest", "{image}")],
            ),
            Step(
                "GET /v2/a/b/manifests/two",
                Nothing,
                200,
                &[Bytes("image"), Header("docker-content-digest", "{image}")],
            ),
            Step("PUT /v2/a/b/manifests/{index}?tag=index", Document(OCI_INDEX, "index"), 201, &[]),
            Step("PUT /v2/a/b/manifests/{nested}?tag=nested", Document(OCI_INDEX, "nested"), 201, &[]),
            Step("PUT /v2/a/b/manifests/none", Document(OCI_INDEX, "none"), 201, &[]),
            Step("PUT /v2/a/b/manifests/foreign", Document(OCI_MANIFEST, "foreign"), 201, &[]),
            Step("PUT /v2/a/b/manifests/bare", Document(OCI_MANIFEST, "bare"), 201, &[]),
            Step("GET /v2/a/b/manifests/bare", Nothing, 200, &[Bytes("bare")]),
            Step("GET /v2/a/b/manifests/nested", Nothing, 200, &[Bytes("nested"), Header("content-type", OCI_INDEX)]),
            Step("HEAD /v2/a/b/manifests/none", Nothing, 200, &[Header("content-type", OCI_INDEX)]),
            Step(
                "GET /v2/a/b/tags/list",
                Nothing,
                200,
                &[Json("/tags", "['bare','foreign','index','nested','none','one','two']"), Json("/name", "'a/b'")],
            ),
            Step("DELETE /v2/a/b/manifests/one", Nothing, 202, &[]),
            Step("HEAD /v2/a/b/manifests/one", Nothing, 404, &[]),
            Step("HEAD /v2/a/b/manifests/{image}", Nothing, 200, &[]),
            Step("DELETE /v2/a/b/manifests/{image}", Nothing, 202, &[]),
            Step("GET /v2/a/b/manifests/{image}", Nothing, 404, &[Error("MANIFEST_UNKNOWN")]),
            Step("GET /v2/a/b/manifests/two", Nothing, 404, &[Error("MANIFEST_UNKNOWN")]),
            Step("DELETE /v2/a/b/manifests/two", Nothing, 404, &[Error("MANIFEST_UNKNOWN")]),
            Step("GET /v2/a/b/manifests/index", Nothing, 200, &[Bytes("index")]),
        ],
    ])
    .await;
}

#[tokio::test]
async fn manifests_that_are_not_what_they_should_be_are_refused() {
    run(&[
        &[Step(
            "PUT /v2/a/b/manifests/{image}",
            Document(OCI_MANIFEST, "image"),
            400,
            &[Error("MANIFEST_BLOB_UNKNOWN")],
        )],
        BLOBS,
        &[
            Step(
                "PUT /v2/a/b/manifests/sparse",
                Document(OCI_MANIFEST, "sparse"),
                400,
                &[Error("MANIFEST_BLOB_UNKNOWN")],
            ),
            Step("PUT /v2/a/b/manifests/lost", Document(OCI_INDEX, "lost"), 400, &[Error("MANIFEST_BLOB_UNKNOWN")]),
            Step("PUT /v2/a/b/manifests/{index}", Document(OCI_MANIFEST, "image"), 400, &[Error("DIGEST_INVALID")]),
            Step(
                "PUT /v2/a/b/manifests/sha256:short",
                Document(OCI_MANIFEST, "image"),
                400,
                &[Error("DIGEST_INVALID")],
            ),
            Step("GET /v2/a/b/manifests/sha256:short", Nothing, 400, &[Error("DIGEST_INVALID")]),
            Step("GET /v2/a/b/blobs/sha256:short", Nothing, 400, &[Error("DIGEST_INVALID")]),
            Step("PUT /v2/a/b/manifests/x", Document(OCI_INDEX, "image"), 400, &[Error("MANIFEST_INVALID")]),
            Step("PUT /v2/a/b/manifests/x", Document(OCI_MANIFEST, "layer"), 400, &[Error("MANIFEST_INVALID")]),
            Step("PUT /v2/a/b/manifests/x", Document("application/json", "json"), 415, &[Error("MANIFEST_INVALID")]),
            Step("PUT /v2/a/b/manifests/-x", Document(OCI_MANIFEST, "image"), 400, &[Error("TAG_INVALID")]),
            Step("PUT /v2/a/b/manifests/{image}?tag=-x", Document(OCI_MANIFEST, "image"), 400, &[Error("TAG_INVALID")]),
            Step("PUT /v2/A/manifests/x", Document(OCI_MANIFEST, "image"), 400, &[Error("NAME_INVALID")]),
            Step("GET /v2/a__b_/tags/list", Nothing, 400, &[Error("NAME_INVALID")]),
            Step("GET /v2/a/b/manifests/never", Nothing, 404, &[Error("MANIFEST_UNKNOWN")]),
            Step("GET /v2/a/b/manifests/{absent}", Nothing, 404, &[Error("MANIFEST_UNKNOWN")]),
            Step("DELETE /v2/a/b/manifests/{absent}", Nothing, 404, &[Error("MANIFEST_UNKNOWN")]),
            Step("GET /v2/never/tags/list", Nothing, 404, &[Error("NAME_UNKNOWN")]),
            Step("GET /v2/a/b/tags/list", Nothing, 200, &[Json("/tags", "[]")]),
        ],
    ])
    .await;
}

#[tokio::test]
async fn tags_are_paged_and_referrers_listed() {
    let put = |request, name, more| Step(request, Document(OCI_MANIFEST, name), 201, more);
    const OF_IMAGE: &[Must] = &[Header("oci-subject", "{image}")];
    run(&[
        &[Step(
            "GET /v2/a/b/referrers/{absent}",
            Nothing,
            200,
            &[Json("/manifests", "[]"), Header("content-type", OCI_INDEX), Json("/schemaVersion", "2")],
        )],
        BLOBS,
        &[
            put("PUT /v2/a/b/manifests/{image}?tag=b&tag=a&tag=d&tag=c", "image", &[]),
            Step(
                "GET /v2/a/b/tags/list?n=2",
                Nothing,
                200,
                &[Json("/tags", "['a','b']"), Header("link", "</v2/a/b/tags/list?n=2&last=b>; rel=\"next\"")],
            ),
            Step("GET /v2/a/b/tags/list?n=2&last=b", Nothing, 200, &[Json("/tags", "['c','d']"), Without("link")]),
            Step("GET /v2/a/b/tags/list?last=c", Nothing, 200, &[Json("/tags", "['d']")]),
            Step("GET /v2/a/b/tags/list?last=z", Nothing, 200, &[Json("/tags", "[]")]),
            Step("GET /v2/a/b/tags/list?n=9", Nothing, 200, &[Json("/tags", "['a','b','c','d']"), Without("link")]),
            put("PUT /v2/a/b/manifests/{sbom}", "sbom", OF_IMAGE),
            put("PUT /v2/a/b/manifests/{signature}?tag=signature", "signature", OF_IMAGE),
            put("PUT /v2/a/b/manifests/{plain}", "plain", OF_IMAGE),
            put("PUT /v2/a/b/manifests/{early}", "early", &[Header("oci-subject", "{absent}")]),
            Step(
                "GET /v2/a/b/referrers/{image}",
                Nothing,
                200,
                &[Without("oci-filters-applied"), Json("/mediaType", "'application/vnd.oci.image.index.v1+json'")],
            ),
            Step(
                "GET /v2/a/b/referrers/{image}?artifactType=application/x.sbom%2Bjson",
                Nothing,
                200,
                &[
                    Header("oci-filters-applied", "artifactType"),
                    Json("/manifests/0/annotations/name", "'sbom'"),
                    Json("/manifests/0/artifactType", "'application/x.sbom+json'"),
                ],
            ),
            Step(
                "GET /v2/a/b/referrers/{image}?artifactType=application/vnd.oci.empty.v1%2Bjson",
                Nothing,
                200,
                &[Json("/manifests/0/annotations/name", "'plain'")],
            ),
            Step(
                "GET /v2/a/b/referrers/{image}?artifactType=application/none",
                Nothing,
                200,
                &[Json("/manifests", "[]"), Header("oci-filters-applied", "artifactType")],
            ),
            Step("GET /v2/a/b/referrers/{absent}", Nothing, 200, &[Json("/manifests/0/annotations/name", "'early'")]),
            Step("GET /v2/other/referrers/{image}", Nothing, 200, &[Json("/manifests", "[]")]),
            Step("DELETE /v2/a/b/manifests/{early}", Nothing, 202, &[]),
            Step("GET /v2/a/b/referrers/{absent}", Nothing, 200, &[Json("/manifests", "[]")]),
            Step("GET /v2/a/b/referrers/sha256:short", Nothing, 400, &[Error("DIGEST_INVALID")]),
        ],
    ])
    .await;
}

#[tokio::test]
async fn methods_that_a_route_has_not_are_named() {
    let wrong =
        |request, allowed| Step(request, Nothing, 405, Vec::leak(vec![Error("UNSUPPORTED"), Header("allow", allowed)]));
    run(&[&[
        Step("GET /v2/", Nothing, 200, &[Header("docker-distribution-api-version", "registry/2.0")]),
        wrong("POST /v2/", "GET, HEAD"),
        wrong("DELETE /v2/_catalog", "GET, HEAD"),
        wrong("PUT /v2/a/b/tags/list", "GET, HEAD"),
        wrong("POST /v2/a/b/referrers/{image}", "GET, HEAD"),
        wrong("PATCH /v2/a/b/manifests/x", "GET, HEAD, PUT, DELETE"),
        wrong("PUT /v2/a/b/blobs/{layer}", "GET, HEAD, DELETE"),
        wrong("GET /v2/a/b/blobs/uploads/", "POST"),
        wrong("POST /v2/a/b/blobs/uploads/x", "GET, HEAD, PATCH, PUT, DELETE"),
        wrong("OPTIONS /v2/a/b/manifests/x", "GET, HEAD, PUT, DELETE"),
        Step("GET /v2/a/b", Nothing, 404, &[Error("UNSUPPORTED")]),
        Step("GET /", Nothing, 404, &[Error("UNSUPPORTED")]),
    ]])
    .await;
}
