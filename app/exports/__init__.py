"""Exports: one package for each stage of an export's life, in that order.

::

    POST /exports
         |
    1. submission   admission, submit                              -> queued
         |          one transaction inserts the row; the job is enqueued after the commit
         v
    2. queue        lanes, leases, recovery                        queued -> running
         |          a worker claims the row: attempt + 1, a lease
         v
    3. execution    exporter: snapshot, parallel_copy,             running -> succeeded
         |            reorder_buffer, multipart_upload;                    -> failed
         |            heartbeat, completion                                -> queued (retry,
         |          the last statement records the file               release, expired lease)
         v
    4. delivery     outbox, mail_lease, mail_message, links,       mail: pending -> sent, failed
         |            resend
         v
    5. cleanup      expiry                                         succeeded -> expired
                    deletion                                       queued, running -> cancelled,
                                                                   succeeded -> deleted
                    attempt_cleanup, orphans                       what attempts left outside

Imports follow the picture: ``submission`` and ``execution`` may use ``delivery``, ``cleanup`` and
``queue``, which do not import one another; all use the modules beside them.
"""
