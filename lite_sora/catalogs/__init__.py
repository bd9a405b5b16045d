"""Public datasets' annotation files, as they are published → a manifest (lite_sora/data/clip.py).

    python -m lite_sora.catalogs NAME --annotations FILE … [--videos FOLDER] --out data/NAME/manifest.jsonl

With --videos only clips whose files exist are written, with their path relative to the manifest. Without it, paths are
the dataset's own, relative to the manifest's folder. Rows that cannot be used are counted, shown, and all written to
NAME.rejected.jsonl. Files of any length are streamed, except the small ones of videoinstruct-100k and msr-vtt. Nothing
is downloaded, and nothing in a file is executed. Mind the licences: nearly all are for research only.

NAME                files to download                      licence                    what becomes what
videoinstruct-100k  VideoInstruct100K.json                 CC BY-NC-SA 4.0 (the hub   answers to "describe the video" →
                    (hub: MBZUAI/VideoInstruct-100K)       says BY-SA); the videos    captions of {video_id}.mp4;
                                                           are ActivityNet's          --all-questions: all answers
panda-70m           panda70m_training_{full,10m,2m}.csv,   Snap: research, not        each timestamp → a window of
                    panda70m_{validation,testing}.csv;     commercial                 {videoID}.mp4; video2dataset's
                    or video2dataset's output folder                                  folder: each cut clip → a clip
youku-mplug         pretrain.csv, {classification,         ModelScope's: research     row → videos/…; title, caption or
                    retrieval,captioning}_{train,val,                                 golden_caption, Chinese
                    test}.csv
msr-vtt             train_val_videodatainfo.json,          Microsoft: research        video → TrainValVideo/videoN.mp4
                    test_videodatainfo.json                                           or TestVideo/…, 20 captions;
                                                                                      --files sources: windows
shot2story          {43k_human,90k_gptv,134k_full}_train   CC BY-NC-SA 4.0            whole_caption → {clip}.mp4, each
                    .json, 20k_{train,val,test}.json                                  shot → its file, or a window of
                    (hub: mhan/shot2story)                                            {clip}.mp4; --parts chooses
internvid           InternVid-10M-flt.jsonl, -full.jsonl,  CC BY-NC-SA 4.0            row → a window of {YoutubeID}.mp4;
                    … (hub: OpenGVLab)                                                --files clips: cut files
webvid-10m          results_10M_{train,val}.csv            withdrawn on 23 Feb 2024   row → videos/{page_dir}/
                                                                                      {videoid}.mp4
folder              a folder of videos, with .txt or       yours                      video → clip, without a text as
                    .json next to them or without;                                    well; shards are extracted next to
                    WebDataset .tar shards                                            the manifest
data-juicer         its JSONL                              yours                      video of a chunk → clip
lite-sora           metadata.json next to videos/          yours                      "path", "text" → clip
to-data-juicer      one of our manifests                   yours                      manifest → Data-Juicer's JSONL

Splits are train, val and test, from a column of the file or from its name; --split sets one. `source` is the video that
a clip was cut from: split by it to avoid leaks.
"""
